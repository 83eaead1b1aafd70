/* GCBench: after John Ellis, Pete Kovac and Hans Boehm. SPDX: MIT OR Apache-2.0
 *
 * Binary trees of many sizes, top-down and bottom-up, while a tree and an array of doubles stay alive.
 *   --long-lived DEPTH  depth of the tree that stays (16; 22 is 268 MB of nodes)
 *   --threads N         each of N threads does the same whole work (1)
 *   --mutate N          subtrees of the long-lived tree replaced between two phases (0)
 */
#include "bench.h"

enum { STRETCH_DEPTH = 18, ARRAY_DOUBLES = 500000, MIN_DEPTH = 4, MAX_DEPTH = 16, MUTATED_HEIGHT = 3 };

typedef struct node {
    struct node *left, *right;
    int i, j;
} node;

static long long_lived_depth, threads, mutations;

static node *new_node(node *left, node *right) {
    node *n = ALLOC_RAW(sizeof *n);
    n->left = left;
    n->right = right;
    n->i = n->j = 0;
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

static uint64_t time_construction(int depth) {
    long iterations = 2 * tree_size(STRETCH_DEPTH) / tree_size(depth);
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
    node *stretch = make_tree(STRETCH_DEPTH);
    w->sum = spine(stretch);
    destroy(stretch);
    stretch = NULL;

    w->tree = new_node(NULL, NULL);
    populate((int)long_lived_depth, w->tree);
    w->array = ALLOC_ATOMIC(ARRAY_DOUBLES * sizeof(double));
    memset(w->array, 0, ARRAY_DOUBLES * sizeof(double));
    for (int k = 0; k < ARRAY_DOUBLES / 2; k++) w->array[k] = 1.0 / (k + 1);

    for (int depth = MIN_DEPTH; depth <= MAX_DEPTH; depth += 2) {
        w->sum = bench_mix(w->sum, time_construction(depth));
        if (mutations && long_lived_depth > MUTATED_HEIGHT) mutate(w->tree, (int)long_lived_depth, &random);
    }
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
    pthread_t ids[64];
    for (long t = 1; t < threads; t++)
        if (bench_thread_create(&ids[t], f, &works[t])) {
            perror("pthread_create");
            exit(2);
        }
    f(&works[0]);
    for (long t = 1; t < threads; t++) bench_thread_join(ids[t]);
}

static struct work works[64];

int main(int argc, char **argv) {
    long_lived_depth = bench_option(argc, argv, "--long-lived", 16);
    threads = bench_option(argc, argv, "--threads", 1);
    mutations = bench_option(argc, argv, "--mutate", 0);
    if (threads < 1 || threads > 64 || long_lived_depth > 28) {
        fprintf(stderr, "gcbench: --threads is 1 to 64 and --long-lived 0 to 28\n");
        return 2;
    }
    bench_init();
    bench_start();
    on_all(run, works);
    bench_stop();

    uint64_t checksum = 0;
    for (long t = 0; t < threads; t++) {
        checksum = bench_mix(checksum, works[t].sum + tree_sum(works[t].tree));
        checksum = bench_mix(checksum, (uint64_t)(works[t].array[1000] * 1e9));
    }

    bench_start();
    if (HAS_FREE) on_all(tear_down, works);
    bench_stop();
    bench_report("gcbench", checksum);
    return 0;
}
