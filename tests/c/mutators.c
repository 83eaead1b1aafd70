/* mutators THREADS SECONDS [LEAST]: threads rearrange one graph of collected objects while collections run. Every object carries a
 * check word made from its own address; a freed and reused one does not. Prints the number of collections. */
#include "check.h"
#include <pthread.h>
#include <time.h>

extern void *GC_malloc(size_t) __attribute__((weak));
extern void *GC_malloc_atomic(size_t) __attribute__((weak));
extern void GC_free(void *) __attribute__((weak));
extern void *GC_realloc(void *, size_t) __attribute__((weak));
extern unsigned long GC_get_gc_no(void) __attribute__((weak));

enum { SLOTS = 512, DEPTH = 40, LARGE = 30000 };

struct node {
    struct node *left, *right;
    uintptr_t check;
    void *payload;
};

/* Only from here: one table per thread, and one that all write. */
static struct node **shared_table;
static volatile int stop;

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static uintptr_t check_of(const struct node *n) { return ~(uintptr_t)n * 0x9e3779b97f4a7c15u; }

static struct node *node_new(struct node *left, struct node *right)
{
    struct node *n = GC_malloc(sizeof *n);
    CHECK(n);
    CHECK(!n->left && !n->right && !n->check && !n->payload);
    n->left = left;
    n->right = right;
    n->check = check_of(n);
    return n;
}

/* Walks a random path; everything on it must be what it was made as. */
static struct node *walk(struct node *n, uint64_t *random)
{
    for (int i = 0; n && i < DEPTH; i++) {
        CHECK(n->check == check_of(n));
        if (n->payload)
            CHECK(*(uintptr_t *)n->payload == check_of(n));
        struct node *below = next(random) & 1 ? n->left : n->right;
        if (!below)
            break;
        n = below;
    }
    return n;
}

static void payload(struct node *n, size_t size, int scanned)
{
    uintptr_t *p = scanned ? GC_malloc(size) : GC_malloc_atomic(size);
    CHECK(p);
    *p = check_of(n);
    n->payload = p;
}

/* The only pointer to a node goes through a pipe: the kernel writes it into the heap. */
static void through_pipe(const int pipe_fds[2], struct node **slot)
{
    struct node *n = *slot;
    CHECK(write(pipe_fds[1], &n, sizeof n) == sizeof n);
    struct node **copy = GC_malloc(sizeof *copy);
    CHECK(read(pipe_fds[0], copy, sizeof *copy) == sizeof *copy);
    *slot = *copy;
}

static void *mutate(void *seed)
{
    uint64_t random = 88172645463325252u + (uintptr_t)seed * 7919;
    struct node **own = GC_malloc(SLOTS * sizeof *own);
    CHECK(own);
    int pipe_fds[2];
    CHECK(pipe(pipe_fds) == 0);
    while (!stop) {
        struct node **table = next(&random) % 4 ? own : shared_table;
        struct node **slot = &table[next(&random) % SLOTS];
        struct node *n = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
        switch (next(&random) % 16) {
        case 0: /* drop a tree */
            if (table == own)
                __atomic_store_n(slot, NULL, __ATOMIC_RELEASE);
            break;
        case 1: case 2: case 3: { /* put a new node above */
            struct node *top = node_new(n, own[next(&random) % SLOTS]);
            __atomic_store_n(slot, top, __ATOMIC_RELEASE);
            break;
        }
        case 4: case 5: case 6: { /* move a subtree within the thread's own nodes: the store that marking could miss */
            struct node *from = own[next(&random) % SLOTS], *to = own[next(&random) % SLOTS];
            if (from && to && from != to) {
                struct node *moved = from->left;
                from->left = NULL;
                to->right = moved;
            }
            break;
        }
        case 7: { /* and over the stack, with the old place gone */
            struct node *from = own[next(&random) % SLOTS];
            if (from && from->right) {
                struct node *held = from->right;
                from->right = NULL;
                for (int i = 0; i < 50; i++)
                    node_new(NULL, NULL);
                walk(held, &random);
                own[next(&random) % SLOTS] = node_new(held, NULL);
            }
            break;
        }
        case 8:
            if (n && table == own)
                payload(n, 16 + next(&random) % 2000, next(&random) & 1);
            break;
        case 9:
            if (n && table == own && next(&random) % 64 == 0)
                payload(n, LARGE + next(&random) % 200000, next(&random) & 1);
            break;
        case 10: { /* explicit frees among it */
            struct node *gone[40];
            for (int i = 0; i < 40; i++)
                gone[i] = node_new(NULL, NULL);
            for (int i = 0; i < 40; i++)
                GC_free(gone[i]);
            break;
        }
        case 11:
            if (n && table == own)
                through_pipe(pipe_fds, slot);
            break;
        default:
            for (int i = 0; i < 20; i++)
                node_new(NULL, NULL);
            walk(n, &random);
        }
        /* Trees must not grow for ever. */
        if (next(&random) % 4096 == 0)
            for (int i = 0; i < SLOTS; i++)
                if (next(&random) % 4)
                    __atomic_store_n(&table[i], NULL, __ATOMIC_RELEASE);
    }
    for (int i = 0; i < SLOTS; i++)
        for (int k = 0; k < 100; k++)
            walk(own[i], &random);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3 || argc == 4);
    if (!GC_malloc)
        return 0;
    enum { MOST = 64 };
    int count = atoi(argv[1]);
    CHECK(count > 0 && count <= MOST);
    shared_table = GC_malloc(SLOTS * sizeof *shared_table);
    pthread_t threads[MOST];
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, mutate, (void *)(uintptr_t)i) == 0);
    struct timespec time = {atoi(argv[2]), 0};
    while (nanosleep(&time, &time) != 0) {
    }
    /* On a loaded machine it takes longer until there were LEAST collections. */
    const unsigned long least = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    for (int i = 0; i < 6000 && GC_get_gc_no() < least; i++)
        usleep(10000);
    stop = 1;
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    printf("collections %lu\n", GC_get_gc_no());
    return 0;
}
