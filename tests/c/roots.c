/* roots CASE: items whose only pointers lie in one kind of place must survive forced collections. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { N = 64 };

static uintptr_t *place; /* array of N words, where the case keeps its pointers */
static uintptr_t bss[N];
static uintptr_t data[N] = {1};
static __thread uintptr_t tls[N];
static pthread_key_t keys[N];
static int use_keys;
static uintptr_t (*encode)(uintptr_t, int);
static uintptr_t (*decode)(uintptr_t, int);

static uintptr_t same(uintptr_t p, int i) { (void)i; return p; }
static uintptr_t low_tag(uintptr_t p, int i) { return p | (uintptr_t)(i % 15 + 1); }
static uintptr_t low_untag(uintptr_t p, int i) { (void)i; return p & ~(uintptr_t)15; }
static uintptr_t top_tag(uintptr_t p, int i) { return p | (uintptr_t)(i % 255 + 1) << 56; }
static uintptr_t top16_tag(uintptr_t p, int i) { return p | (uintptr_t)(i * 1021 % 65535 + 1) << 48; }
static uintptr_t top_untag(uintptr_t p, int i) { (void)i; return p << 16 >> 16; }
static uintptr_t both_tag(uintptr_t p, int i) { return top16_tag(low_tag(p, i), i); }
static uintptr_t turn(uintptr_t p, int i) { (void)i; return p >> 1 | (uintptr_t)1 << 63; }
static uintptr_t unturn(uintptr_t p, int i) { (void)i; return p << 1; }
static uintptr_t both_untag(uintptr_t p, int i) { return low_untag(top_untag(p, i), i); }
static uintptr_t interior(uintptr_t p, int i) { return p + (uintptr_t)i % sizeof(struct item); }
static uintptr_t exterior(uintptr_t p, int i) { return p - (uintptr_t)i % sizeof(struct item); }

NOINLINE static void fill(void)
{
    for (int i = 0; i < N; i++) {
        uintptr_t word = encode((uintptr_t)item_new(i), i);
        if (use_keys)
            CHECK(pthread_setspecific(keys[i], (void *)word) == 0);
        else
            place[i] = word;
    }
    clear_stack();
}

NOINLINE static void verify(void)
{
    overwrite_freed();
    for (int i = 0; i < N; i++) {
        uintptr_t word = use_keys ? (uintptr_t)pthread_getspecific(keys[i]) : place[i];
        if (!item_intact((struct item *)decode(word, i), i)) {
            fprintf(stderr, "item %d was freed although a root holds it\n", i);
            _exit(1);
        }
    }
}

static void *mapping(int protection, int flags, int fd)
{
    void *p = mmap(NULL, 65536, protection, flags, fd, 0);
    CHECK(p != MAP_FAILED);
    return (char *)p + 8192;
}

/* A second thread that holds the items and waits while the first one collects. */
static pthread_barrier_t barrier;
static pthread_t collector;

static void *collect_between(void *unused)
{
    pthread_barrier_wait(&barrier);
    collect();
    controls_check();
    pthread_barrier_wait(&barrier);
    return unused;
}

static void start_collector(void)
{
    pthread_barrier_init(&barrier, NULL, 2);
    CHECK(pthread_create(&collector, NULL, collect_between, NULL) == 0);
}

NOINLINE static void let_collect(void)
{
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}

/* Runs on the main stack, in a signal handler or on a coroutine's stack. */
NOINLINE static void on_this_stack(void)
{
    uintptr_t local[N];
    place = local;
    fill();
    place = (uintptr_t *)~(uintptr_t)place;
    let_collect();
    place = (uintptr_t *)~(uintptr_t)place;
    verify();
    __asm__ volatile("" : : "r"(local) : "memory");
}

static void handler(int signal)
{
    (void)signal;
    on_this_stack();
}

static void alternate_stack(void)
{
    stack_t stack = {.ss_sp = mapping(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1), .ss_size = 49152};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
}

static void quiet_handler(int signal)
{
    (void)signal;
    let_collect();
}

/* The handler runs on the alternate stack; the items are held by the interrupted main stack. */
NOINLINE static void below_alternate_stack(void)
{
    uintptr_t local[N];
    stack_t stack = {.ss_sp = mapping(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1), .ss_size = 49152};
    struct sigaction action = {.sa_handler = quiet_handler, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    place = local;
    fill();
    raise(SIGUSR1);
    verify();
}

static ucontext_t outer, inner;

static void coroutine(void)
{
    uintptr_t local[N];
    place = local;
    fill();
    swapcontext(&inner, &outer);
    verify();
    swapcontext(&inner, &outer);
}

static void coroutine_stack(int from_malloc)
{
    CHECK(getcontext(&inner) == 0);
    inner.uc_stack.ss_size = 57344;
    inner.uc_stack.ss_sp = from_malloc ? malloc(57344)
                                       : mapping(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    CHECK(inner.uc_stack.ss_sp);
    inner.uc_link = NULL;
    makecontext(&inner, coroutine, 0);
    swapcontext(&outer, &inner);
    let_collect();
    swapcontext(&outer, &inner);
}

/* The only pointer is in a callee-saved register of a thread that spins. */
static volatile int spinning, done;

static void *hold_in_register(void *unused)
{
    uintptr_t p = (uintptr_t)item_new(7);
    clear_stack();
    spinning = 1;
    __asm__ volatile("mov %0, %%r12\n xor %0, %0\n"
                     "1: pause\n cmpl $0, %1\n je 1b\n mov %%r12, %0\n"
                     : "+r"(p)
                     : "m"(done)
                     : "r12", "memory", "cc");
    overwrite_freed();
    CHECK(item_intact((struct item *)p, 7));
    return unused;
}

static void register_of_thread(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, hold_in_register, NULL) == 0);
    while (!spinning)
        usleep(100);
    let_collect();
    done = 1;
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const int writable = PROT_READ | PROT_WRITE;
    encode = decode = same;
    start_collector();
    controls_make();
    if (!strcmp(name, "stack")) {
        on_this_stack();
    } else if (!strcmp(name, "sigaltstack")) {
        alternate_stack();
    } else if (!strcmp(name, "below-sigaltstack")) {
        below_alternate_stack();
    } else if (!strcmp(name, "coroutine-mmap")) {
        coroutine_stack(0);
    } else if (!strcmp(name, "coroutine-malloc")) {
        coroutine_stack(1);
    } else if (!strcmp(name, "register")) {
        register_of_thread();
    } else {
        if (!strcmp(name, "bss")) {
            place = bss;
        } else if (!strcmp(name, "data")) {
            place = data;
        } else if (!strcmp(name, "tls")) {
            place = tls;
        } else if (!strcmp(name, "heap")) {
            place = malloc(N * sizeof *place);
        } else if (!strcmp(name, "large-heap")) {
            place = (uintptr_t *)((char *)malloc(8 << 20) + (5 << 20));
        } else if (!strcmp(name, "mmap-private")) {
            place = mapping(writable, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        } else if (!strcmp(name, "mmap-shared")) {
            place = mapping(writable, MAP_SHARED | MAP_ANONYMOUS, -1);
        } else if (!strcmp(name, "mmap-file") || !strcmp(name, "mmap-file-private")) {
            int fd = memfd_create("roots", 0);
            CHECK(fd >= 0 && ftruncate(fd, 65536) == 0);
            place = mapping(writable, strcmp(name, "mmap-file") ? MAP_PRIVATE : MAP_SHARED, fd);
        } else if (!strcmp(name, "mmap-readonly")) {
            place = mapping(writable, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        } else if (!strcmp(name, "sbrk")) {
            place = sbrk(65536);
            CHECK(place != (void *)-1);
        } else if (!strcmp(name, "pthread-key")) {
            use_keys = 1;
            for (int i = 0; i < N; i++)
                CHECK(pthread_key_create(&keys[i], NULL) == 0);
        } else {
            place = bss;
            if (!strcmp(name, "tag-low")) {
                encode = low_tag, decode = low_untag;
            } else if (!strcmp(name, "tag-top8")) {
                encode = top_tag, decode = top_untag;
            } else if (!strcmp(name, "tag-top16")) {
                encode = top16_tag, decode = top_untag;
            } else if (!strcmp(name, "tag-both")) {
                encode = both_tag, decode = both_untag;
            } else if (!strcmp(name, "turned")) {
                encode = turn, decode = unturn;
            } else if (!strcmp(name, "interior")) {
                encode = interior, decode = exterior;
            } else {
                fprintf(stderr, "roots: unknown case %s\n", name);
                return 2;
            }
        }
        CHECK(use_keys || place);
        fill();
        if (!strcmp(name, "mmap-readonly"))
            CHECK(mprotect((char *)place - 8192, 65536, PROT_READ) == 0);
        let_collect();
        verify();
    }
    pthread_join(collector, NULL);
    puts("ok");
    return 0;
}
