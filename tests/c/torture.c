/* torture SECONDS DIR: threads, fork, dlopen, signals, timers, small and big blocks, for as long as asked.
 * Every block carries a checksum of its contents; a block that changes or moves is an error. */
#include "check.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { WORKERS = 4, SLOTS = 512, SHARED = 256 };

struct block {
    size_t size;
    uint64_t seed, sum;
    struct block *peer; /* another block of the same slot, reachable through this one only */
    unsigned char bytes[];
};

static double end;
static volatile int stop;
static const char *modules;
static struct block *shared[SHARED];
static pthread_mutex_t locks[SHARED];
static unsigned long operations, forks, opened, collections, handled;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

static size_t some_size(uint64_t *state)
{
    uint64_t r = next(state);
    switch (r % 64) {
    case 0: return r >> 20 & 0x1fffff; /* up to 2 MB */
    case 1: case 2: case 3: return r >> 20 & 0xffff;
    case 4: case 5: case 6: case 7: case 8: case 9: return r >> 20 & 0x1fff;
    default: return r >> 20 & 0x1ff;
    }
}

/* Big blocks are filled in steps: what matters is that both ends and the middle stay. */
static size_t step(size_t size) { return size < 4096 ? 1 : size / 509; }

static uint64_t sum_of(const struct block *block)
{
    uint64_t sum = block->size * 31 + block->seed;
    for (size_t i = 0; i < block->size; i += step(block->size))
        sum = sum * 33 + block->bytes[i];
    return sum;
}

static void fill(struct block *block, size_t size, uint64_t seed)
{
    uint64_t state = seed | 1;
    block->size = size;
    block->seed = seed;
    block->peer = NULL;
    for (size_t i = 0; i < size; i += step(size))
        block->bytes[i] = (unsigned char)next(&state);
    block->sum = sum_of(block);
}

static void verify(const struct block *block)
{
    for (; block; block = block->peer)
        if (block->sum != sum_of(block)) {
            fprintf(stderr, "torture: block %p of %zu bytes has changed\n", (const void *)block, block->size);
            abort();
        }
}

static struct block *make(uint64_t *state)
{
    size_t size = some_size(state), whole = sizeof(struct block) + size;
    struct block *block;
    switch (next(state) % 8) {
    case 0:
        block = calloc(1, whole);
        CHECK(block && block->sum == 0 && block->peer == NULL && (size == 0 || block->bytes[size - 1] == 0));
        break;
    case 1:
        block = aligned_alloc((size_t)16 << next(state) % 9, whole);
        break;
    case 2:
        block = realloc(malloc(whole / 2 + 1), whole);
        break;
    default:
        block = malloc(whole);
    }
    CHECK(block);
    fill(block, size, next(state));
    return block;
}

static void drop(struct block *block)
{
    while (block) {
        struct block *peer = block->peer;
        verify(block);
        block->sum = 0;
        free(block);
        block = peer;
    }
}

static void one(struct block **slot, uint64_t *state)
{
    struct block *block = *slot;
    verify(block);
    switch (next(state) % 8) {
    case 0:
        if (block) {
            /* Grow or shrink: the common part stays. */
            size_t size = some_size(state), old = block->size, small = size < old ? size : old;
            unsigned char first = small ? block->bytes[0] : 0;
            struct block *peer = block->peer;
            uint64_t seed = block->seed;
            block = realloc(block, sizeof *block + size);
            CHECK(block && (!small || block->bytes[0] == first) && block->seed == seed);
            fill(block, size, next(state));
            block->peer = peer;
            *slot = block;
        }
        break;
    case 1:
        if (block && !block->peer)
            block->peer = make(state);
        break;
    case 2:
        /* Lost on purpose: the collector's work in reclaim; small, so that malloc mode survives it. */
        *(volatile uintptr_t *)malloc(64) = next(state);
        break;
    default:
        *slot = NULL;
        drop(block);
        *slot = make(state);
    }
}

static void *work(void *argument)
{
    struct block *own[SLOTS] = {0};
    uint64_t state = 0x9e3779b97f4a7c15ULL * ((uintptr_t)argument + 1);
    for (int i = 0; i < 4000 && !stop; i++) {
        one(&own[next(&state) % SLOTS], &state);
        if (i % 4 == 0) {
            size_t at = next(&state) % SHARED;
            CHECK(pthread_mutex_lock(&locks[at]) == 0);
            one(&shared[at], &state);
            CHECK(pthread_mutex_unlock(&locks[at]) == 0);
        }
        __atomic_fetch_add(&operations, 1, __ATOMIC_RELAXED);
    }
    for (int i = 0; i < SLOTS; i++)
        drop(own[i]);
    return NULL;
}

/* Starts threads that end after a while, all the time. */
static void *spawner(void *argument)
{
    uintptr_t number = (uintptr_t)argument;
    while (!stop) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, work, (void *)number) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        number += WORKERS;
    }
    return NULL;
}

static void *forker(void *unused)
{
    while (!stop) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            struct block *own[64] = {0};
            uint64_t state = (uint64_t)getpid() * 7919 + 1;
            for (int i = 0; i < 500; i++)
                one(&own[next(&state) % 64], &state);
            if (dunegc_collect)
                dunegc_collect();
            for (int i = 0; i < 64; i++)
                drop(own[i]);
            _exit(0);
        }
        int status = 0;
        while (waitpid(pid, &status, 0) < 0)
            CHECK(errno == EINTR);
        if (status != 0) {
            fprintf(stderr, "torture: a forked child ended with wait status %#x\n", status);
            abort();
        }
        __atomic_fetch_add(&forks, 1, __ATOMIC_RELAXED);
        usleep(20000);
    }
    return unused;
}

static void *opener(void *unused)
{
    char path[4096];
    for (unsigned i = 0; !stop; i++) {
        void *handles[3];
        for (unsigned j = 0; j < 3; j++) {
            snprintf(path, sizeof path, "%s/dynamic%u.so", modules, (i + j) % 10);
            CHECK((handles[j] = dlopen(path, RTLD_NOW | RTLD_LOCAL)) != NULL);
            uintptr_t *(*place)(void) = (uintptr_t * (*)(void)) dlsym(handles[j], "dynamic_tls");
            CHECK(place);
            for (int k = 0; k < 64; k++)
                place()[k] = (uintptr_t)item_new((uint64_t)k);
        }
        if (i % 8 == 0 && dunegc_collect && dunegc_collect() == 0)
            __atomic_fetch_add(&collections, 1, __ATOMIC_RELAXED);
        for (unsigned j = 0; j < 3; j++) {
            uintptr_t *(*place)(void) = (uintptr_t * (*)(void)) dlsym(handles[j], "dynamic_tls");
            for (int k = 0; k < 64; k++) {
                CHECK(item_intact((struct item *)place()[k], (uint64_t)k));
                free((void *)place()[k]);
            }
            CHECK(dlclose(handles[j]) == 0);
        }
        __atomic_fetch_add(&opened, 3, __ATOMIC_RELAXED);
        usleep(1000);
    }
    return unused;
}

static void *mapper(void *unused)
{
    uint64_t state = 42;
    while (!stop) {
        /* Mappings come and go between the collector's look at the list and its reading of them. */
        size_t size = (next(&state) % 64 + 1) * 4096;
        struct item **place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(place != MAP_FAILED);
        for (int i = 0; i < 64; i++)
            place[i] = item_new((uint64_t)i);
        usleep(500);
        for (int i = 0; i < 64; i++) {
            CHECK(item_intact(place[i], (uint64_t)i));
            free(place[i]);
        }
        CHECK(munmap(place, size) == 0);
    }
    return unused;
}

static void on_signal(int signal)
{
    (void)signal;
    volatile char deep[2048];
    for (size_t i = 0; i < sizeof deep; i += 64)
        deep[i] = (char)i;
    __atomic_fetch_add(&handled, 1, __ATOMIC_RELAXED);
}

static void start_signals(void)
{
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec every = {{0, 3000000}, {0, 3000000}};
    timer_t timer;
    CHECK(sigaltstack(&alternate, NULL) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &every, NULL) == 0);
}

int main(int argc, char **argv)
{
    pthread_t threads[WORKERS + 3];
    CHECK(argc > 2);
    end = now() + atof(argv[1]);
    modules = argv[2];
    for (int i = 0; i < SHARED; i++)
        CHECK(pthread_mutex_init(&locks[i], NULL) == 0);
    start_signals();
    for (uintptr_t i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, spawner, (void *)i) == 0);
    CHECK(pthread_create(&threads[WORKERS], NULL, forker, NULL) == 0);
    CHECK(pthread_create(&threads[WORKERS + 1], NULL, opener, NULL) == 0);
    CHECK(pthread_create(&threads[WORKERS + 2], NULL, mapper, NULL) == 0);
    while (now() < end) {
        usleep(50000);
        if (dunegc_collect && dunegc_collect() == 0)
            __atomic_fetch_add(&collections, 1, __ATOMIC_RELAXED);
    }
    stop = 1;
    for (int i = 0; i < WORKERS + 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < SHARED; i++)
        drop(shared[i]);
    /* None of the parts may have stood still. */
    CHECK(operations > 100 && forks > 0 && opened > 0 && handled > 0);
    CHECK(!dunegc_collect || collections > 0);
    printf("operations %lu, forks %lu, modules %lu, collections asked for %lu, signals %lu\n", operations, forks,
           opened, collections, handled);
    puts("ok");
    return 0;
}
