/* threads CASE: thread ends of all kinds, blocks that cross threads, threads that libc does not know. */
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { THREADS = 6, ROUNDS = 20000 };

static pthread_key_t key;
static int destroyed, cleaned;

static void *churn(void *argument)
{
    struct item *items[100] = {0};
    uint64_t seed = (uintptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        int at = (int)(seed >> 33) % 100;
        if (items[at]) {
            CHECK(item_intact(items[at], (uint64_t)at));
            free(items[at]);
        }
        items[at] = item_new((uint64_t)at);
        if (i % 100 == 0)
            free(malloc((seed >> 40) % 100000));
    }
    for (int i = 0; i < 100; i++)
        free(items[i]);
    return argument;
}

static void case_churn(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, churn, (void *)i) == 0);
    for (int i = 0; i < 5; i++)
        collect();
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0 && result == (void *)i);
    }
}

/* A chain: each thread makes items, its joiner frees them. */
static void *make_items(void *argument)
{
    struct item **items = argument;
    for (int i = 0; i < 1000; i++)
        items[i] = item_new(i);
    return items;
}

static void case_short_lived(void)
{
    for (int round = 0; round < 300; round++) {
        pthread_t thread;
        struct item **items;
        CHECK(pthread_create(&thread, NULL, make_items, malloc(1000 * sizeof(void *))) == 0);
        CHECK(pthread_join(thread, (void **)&items) == 0);
        if (round % 50 == 0)
            collect();
        for (int i = 0; i < 1000; i++) {
            CHECK(item_intact(items[i], i));
            free(items[i]);
        }
        free(items);
    }
}

/* Destructors of thread-specific data and cleanup handlers allocate and free. */
static void destructor(void *value)
{
    free(value);
    free(malloc(5000));
    __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
    static __thread int again;
    if (again++ < 2)
        CHECK(pthread_setspecific(key, item_new(1)) == 0);
}

static void cleanup(void *argument)
{
    free(argument);
    free(strdup("cleanup"));
    __atomic_fetch_add(&cleaned, 1, __ATOMIC_RELAXED);
}

static void *exits(void *argument)
{
    CHECK(pthread_setspecific(key, item_new(0)) == 0);
    pthread_cleanup_push(cleanup, malloc(100));
    churn(argument);
    pthread_exit(argument);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *waits(void *argument)
{
    CHECK(pthread_setspecific(key, item_new(0)) == 0);
    pthread_cleanup_push(cleanup, malloc(100));
    for (;;) {
        free(malloc(100));
        usleep(1000);
    }
    pthread_cleanup_pop(0);
    return argument;
}

static void case_pthread_exit(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_key_create(&key, destructor) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, i % 2 ? waits : exits, (void *)i) == 0);
    usleep(20000);
    for (int i = 1; i < THREADS; i += 2)
        CHECK(pthread_cancel(threads[i]) == 0);
    collect();
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(destroyed == 3 * THREADS && cleaned == THREADS);
}

/* main ends by pthread_exit, the last thread ends the process. */
static void *outlives_main(void *argument)
{
    usleep(100000);
    churn(argument);
    collect();
    churn(argument);
    puts("ok");
    exit(0);
}

static void case_main_exits(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, outlives_main, NULL) == 0);
    pthread_exit(NULL);
}

/* exit while threads run at full speed; handlers allocate and collect. */
static void *churn_forever(void *argument)
{
    for (;;)
        churn(argument);
    return NULL;
}

static void at_exit(void)
{
    free(malloc(100000));
    collect();
}

static void case_exit_running(void)
{
    pthread_t thread;
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread, NULL, churn_forever, (void *)i) == 0);
    CHECK(atexit(at_exit) == 0);
    usleep(50000);
    puts("ok");
    exit(0);
}

/* A thread made by clone(2): libc knows nothing of it; it shares everything and holds the only pointers. */
enum { HELD = 64 };
static uintptr_t handed[HELD];
static volatile int taken, go_on;
static int alive = 1;

static void raw_sleep(void)
{
    struct timespec time = {.tv_nsec = 1000000};
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(SYS_nanosleep), "D"(&time), "S"(0) : "rcx", "r11", "memory");
}

static int raw_thread(void *argument)
{
    uintptr_t held[HELD];
    (void)argument;
    for (int i = 0; i < HELD; i++) {
        held[i] = ~handed[i];
        handed[i] = 0;
    }
    __asm__ volatile("" : : "r"(held) : "memory");
    taken = 1;
    while (!go_on)
        raw_sleep();
    __asm__ volatile("" : : "r"(held) : "memory");
    for (int i = 0; i < HELD; i++)
        handed[i] = ~held[i];
    return 0;
}

NOINLINE static void hand_over(void)
{
    for (int i = 0; i < HELD; i++)
        handed[i] = hide(item_new(i));
    clear_stack();
}

static void case_raw_clone(void)
{
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    hand_over();
    int tid = clone(raw_thread, stack + 65536,
                    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                        CLONE_CHILD_CLEARTID,
                    NULL, NULL, NULL, &alive);
    CHECK(tid > 0);
    while (!taken)
        usleep(1000);
    collect();
    overwrite_freed();
    go_on = 1;
    while (__atomic_load_n(&alive, __ATOMIC_ACQUIRE))
        usleep(1000);
    for (int i = 0; i < HELD; i++)
        CHECK(item_intact(reveal(handed[i]), i));
}

/* Threads with the smallest stack there is, and a coroutine on a block of the heap: a collection must not need their room. */
enum { SMALL = 16384 };
static ucontext_t outside, inside;

static void allocate_and_collect(void)
{
    for (int round = 0; round < 20; round++) {
        struct item *items[64];
        for (int i = 0; i < 64; i++)
            items[i] = item_new(i);
        /* In mode reclaim, enough is lost for collections without being asked for. */
        for (int i = 0; i < 20000; i++)
            *(char *volatile)malloc(100) = 1;
        /* collect() clears more stack than there is. */
        CHECK(!dunegc_collect || dunegc_collect() == 0);
        for (int i = 0; i < 64; i++) {
            CHECK(item_intact(items[i], i));
            free(items[i]);
        }
    }
}

static void *on_small_stack(void *argument)
{
    allocate_and_collect();
    return argument;
}

static void case_small_stacks(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    size_t size = (size_t)sysconf(_SC_THREAD_STACK_MIN);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, size > SMALL ? size : SMALL) == 0);
    CHECK(pthread_create(&thread, &attributes, on_small_stack, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);

    unsigned char *block = malloc(2 * SMALL);
    memset(block, 0xc5, SMALL);
    CHECK(getcontext(&inside) == 0);
    inside.uc_stack.ss_sp = block + SMALL;
    inside.uc_stack.ss_size = SMALL;
    inside.uc_link = &outside;
    makecontext(&inside, allocate_and_collect, 0);
    CHECK(swapcontext(&outside, &inside) == 0);
    for (int i = 0; i < SMALL; i++)
        CHECK(block[i] == 0xc5);
    free(block);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "churn"))
        case_churn();
    else if (!strcmp(name, "short-lived"))
        case_short_lived();
    else if (!strcmp(name, "pthread-exit"))
        case_pthread_exit();
    else if (!strcmp(name, "main-exits"))
        case_main_exits();
    else if (!strcmp(name, "exit-running"))
        case_exit_running();
    else if (!strcmp(name, "small-stacks"))
        case_small_stacks();
    else if (!strcmp(name, "raw-clone"))
        case_raw_clone();
    else
        CHECK(!"a known case");
    puts("ok");
    return 0;
}
