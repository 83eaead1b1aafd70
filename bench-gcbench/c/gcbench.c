/* GCBench: after John Ellis, Pete Kovac and Hans Boehm. SPDX: MIT OR Apache-2.0
 *
 * Binary trees of many sizes, top-down and bottom-up, while a tree and an array of doubles stay alive.
 *   --long-lived DEPTH  depth of the tree that stays (16; 22 is 268 MB of nodes)
 *   --depth DEPTH       depth of the largest of the many trees (16); the first one, which is thrown away, is by two deeper
 *   --threads N         each of N threads does the same whole work (1)
 *   --mutate N          subtrees of the long-lived tree replaced between two phases (0)
 *   --swap P            on average P of 100 000 allocations are followed by a swap of two random subtrees of the
 *                       long-lived tree, two pointer stores each; the tree keeps its size and its nodes (0)
 *   --sleepers N        further threads that hold a small tree on their stack and sleep (0)
 */
#include "bench.h"

enum { ARRAY_DOUBLES = 500000, MIN_DEPTH = 4, MUTATED_HEIGHT = 3 };

typedef struct node {
    struct node *left, *right;
    int i, j;
} node;

enum { MAX_THREADS = 64, MAX_SLEEPERS = 256, SLEEPER_DEPTH = 10 };

static long long_lived_depth, most_depth, stretch_depth, threads, mutations, swaps, sleepers;

/* Swaps subtrees of this thread's long-lived tree; nothing before the tree is complete. */
static __thread struct {
    struct node *root;
    uint64_t random;
    uint64_t allocations_left;
} swapper;

static node **random_slot(long level, uint64_t path) {
    node *n = swapper.root;
    for (; level > 1; level--, path >>= 1) n = path & 1 ? n->left : n->right;
    return path & 1 ? &n->left : &n->right;
}

/* Uniform from 1 to twice the mean distance. */
static void draw_distance(void) { swapper.allocations_left = 1 + bench_random(&swapper.random) % (200000 / (uint64_t)swaps); }

/* Two slots of one level, so that neither lies below the other. */
static void __attribute__((noinline)) swap_subtrees(void) {
    long level = 1 + (long)(bench_random(&swapper.random) % (uint64_t)long_lived_depth);
    node **a = random_slot(level, bench_random(&swapper.random) >> 20);
    node **b = random_slot(level, bench_random(&swapper.random) >> 20);
    node *kept = *a;
    *a = *b;
    *b = kept;
    draw_distance();
}

static inline void maybe_swap(void) {
    if (swaps && swapper.root && --swapper.allocations_left == 0) swap_subtrees();
}

static node *new_node(node *left, node *right) {
    node *n = ALLOC_RAW(sizeof *n);
    n->left = left;
    n->right = right;
    n->i = n->j = 0;
    maybe_swap();
    return n;
}

static long tree_size(int depth) { return (1L << (depth + 1)) - 1; }

static void populate(int depth, node *n) {
    if (depth <= 0) return;
    n->left = new_node(NULL, NULL);
    n->right = new_node(NULL, NULL);
    populate(depth - 1, n->left);
    populate(depth - 1, n->right);
}

static node *make_tree(int depth) {
    if (depth <= 0) return new_node(NULL, NULL);
    node *left = make_tree(depth - 1);
    node *right = make_tree(depth - 1);
    return new_node(left, right);
}

static void destroy(node *n) {
    if (!HAS_FREE || !n) return;
    destroy(n->left);
    destroy(n->right);
    FREE(n);
}

static uint64_t spine(const node *n) {
    uint64_t length = 0;
    for (; n; n = n->left) length++;
    return length;
}

static uint64_t tree_sum(const node *n) {
    return n ? 1 + (uint64_t)n->i + tree_sum(n->left) + tree_sum(n->right) : 0;
}

/* Numbers the nodes in the order of the tree, for `tree_order`. */
static void number(node *n, int *next) {
    if (!n) return;
    PROBE_TICK();
    n->i = (*next)++;
    number(n->left, next);
    number(n->right, next);
}

/* A checksum in which every node counts with its place. */
static uint64_t tree_order(const node *n, uint64_t sum) {
    return n ? tree_order(n->right, tree_order(n->left, bench_mix(sum, (uint64_t)n->i))) : sum + 1;
}

static uint64_t time_construction(int depth) {
    long iterations = 2 * tree_size((int)stretch_depth) / tree_size(depth);
    uint64_t sum = 0;
    for (long k = 0; k < iterations; k++) {
        node *tree = new_node(NULL, NULL);
        populate(depth, tree);
        sum += spine(tree);
        destroy(tree);
    }
    for (long k = 0; k < iterations; k++) {
        node *tree = make_tree(depth);
        sum += spine(tree);
        destroy(tree);
    }
    return sum;
}

static void mutate(node *root, int depth, uint64_t *random) {
    for (long k = 0; k < mutations; k++) {
        uint64_t path = bench_random(random);
        node *n = root;
        for (int level = depth; level > MUTATED_HEIGHT + 1; level--, path >>= 1) n = path & 1 ? n->left : n->right;
        node **slot = path & 1 ? &n->left : &n->right;
        destroy(*slot);
        *slot = make_tree(MUTATED_HEIGHT);
        (*slot)->i = (int)(k & 0xffff) + 1;
    }
}

struct work {
    node *tree;
    double *array;
    uint64_t sum;
};

static void *run(void *arg) {
    struct work *w = arg;
    uint64_t random = 88172645463325252u;
    probe_begin();
    node *stretch = make_tree((int)stretch_depth);
    w->sum = spine(stretch);
    destroy(stretch);
    stretch = NULL;

    w->tree = new_node(NULL, NULL);
    populate((int)long_lived_depth, w->tree);
    w->array = ALLOC_ATOMIC(ARRAY_DOUBLES * sizeof(double));
    for (int k = 0; k < ARRAY_DOUBLES; k += 500) {
        memset(w->array + k, 0, 500 * sizeof(double));
        PROBE_TICK();
    }
    for (int k = 0; k < ARRAY_DOUBLES / 2; k++) {
        w->array[k] = 1.0 / (k + 1);
        if (k % 512 == 0) PROBE_TICK();
    }
    if (swaps) {
        int next = 0;
        number(w->tree, &next);
        swapper.root = w->tree;
        swapper.random = random;
        draw_distance();
    }

    for (int depth = MIN_DEPTH; depth <= most_depth; depth += 2) {
        w->sum = bench_mix(w->sum, time_construction(depth));
        if (mutations && long_lived_depth > MUTATED_HEIGHT) mutate(w->tree, (int)long_lived_depth, &random);
    }
    swapper.root = NULL;
    probe_end();
    return NULL;
}

static void *tear_down(void *arg) {
    struct work *w = arg;
    destroy(w->tree);
    FREE(w->array);
    return NULL;
}

/* `f` on every piece of work at once, the first one on this thread. */
static void on_all(void *(*f)(void *), struct work *works) {
    pthread_t ids[MAX_THREADS];
    for (long t = 1; t < threads; t++)
        if (bench_thread_create(&ids[t], f, &works[t])) {
            perror("pthread_create");
            exit(2);
        }
    f(&works[0]);
    for (long t = 1; t < threads; t++) bench_thread_join(ids[t]);
}

static struct work works[MAX_THREADS];

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long asleep;
    int morning;
} night = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};

/* Only this stack holds the tree while the thread sleeps. */
static void *sleeper(void *sum) {
    node *tree = make_tree(SLEEPER_DEPTH);
    pthread_mutex_lock(&night.lock);
    night.asleep++;
    pthread_cond_broadcast(&night.changed);
    while (!night.morning) pthread_cond_wait(&night.changed, &night.lock);
    pthread_mutex_unlock(&night.lock);
    *(uint64_t *)sum = tree_sum(tree);
    destroy(tree);
    return NULL;
}

static pthread_t sleeper_ids[MAX_SLEEPERS];
static uint64_t sleeper_sums[MAX_SLEEPERS];

static void start_sleepers(void) {
    for (long t = 0; t < sleepers; t++)
        if (bench_thread_create(&sleeper_ids[t], sleeper, &sleeper_sums[t])) {
            perror("pthread_create");
            exit(2);
        }
    pthread_mutex_lock(&night.lock);
    while (night.asleep < sleepers) pthread_cond_wait(&night.changed, &night.lock);
    pthread_mutex_unlock(&night.lock);
}

static uint64_t wake_sleepers(void) {
    uint64_t sum = 0;
    pthread_mutex_lock(&night.lock);
    night.morning = 1;
    pthread_cond_broadcast(&night.changed);
    pthread_mutex_unlock(&night.lock);
    for (long t = 0; t < sleepers; t++) {
        bench_thread_join(sleeper_ids[t]);
        sum += sleeper_sums[t];
    }
    return sum;
}

int main(int argc, char **argv) {
    long_lived_depth = bench_option(argc, argv, "--long-lived", 16);
    most_depth = bench_option(argc, argv, "--depth", 16);
    stretch_depth = most_depth + 2;
    threads = bench_option(argc, argv, "--threads", 1);
    mutations = bench_option(argc, argv, "--mutate", 0);
    swaps = bench_option(argc, argv, "--swap", 0);
    sleepers = bench_option(argc, argv, "--sleepers", 0);
    if (threads < 1 || threads > MAX_THREADS || long_lived_depth > 28) {
        fprintf(stderr, "gcbench: --threads is 1 to %d and --long-lived 0 to 28\n", MAX_THREADS);
        return 2;
    }
    if (most_depth < MIN_DEPTH || most_depth > 24) {
        fprintf(stderr, "gcbench: --depth is %d to 24\n", MIN_DEPTH);
        return 2;
    }
    if (sleepers > MAX_SLEEPERS || swaps > 100000 || (swaps && long_lived_depth < 1)) {
        fprintf(stderr, "gcbench: --sleepers is 0 to %d, --swap 0 to 100000 and needs --long-lived 1 or more\n",
                MAX_SLEEPERS);
        return 2;
    }
    bench_init(argc, argv);
    start_sleepers();
    bench_start();
    on_all(run, works);
    bench_stop();

    uint64_t checksum = sleepers ? wake_sleepers() : 0;
    for (long t = 0; t < threads; t++) {
        if (swaps) checksum = bench_mix(checksum, tree_order(works[t].tree, 0));
        checksum = bench_mix(checksum, works[t].sum + tree_sum(works[t].tree));
        checksum = bench_mix(checksum, (uint64_t)(works[t].array[1000] * 1e9));
    }

    bench_start();
    if (HAS_FREE) on_all(tear_down, works);
    bench_stop();
    bench_report("gcbench", checksum);
    return 0;
}
