/* Incremental mode: the same results while the heap is changed between pieces of work, and manual dirty marks. */
#include "oracle.h"

enum { NODES = 20000, ROUNDS = 300 };
struct node {
    struct node *left, *right;
    long number;
};
static struct node *nodes[NODES];
static unsigned long seed = 1;

static unsigned next(void)
{
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(seed >> 33);
}

static struct node *tree(int depth, long number)
{
    struct node *node = GC_MALLOC(sizeof *node);
    node->number = number;
    if (depth > 0) {
        struct node *left = tree(depth - 1, number * 2), *right = tree(depth - 1, number * 2 + 1);
        GC_PTR_STORE_AND_DIRTY(&node->left, left);
        node->right = right;
        GC_END_STUBBORN_CHANGE(node);
        GC_reachable_here(right);
    }
    return node;
}

static long sum(const struct node *node)
{
    return node ? node->number + sum(node->left) + sum(node->right) : 0;
}

int main(int argc, char **argv)
{
    int manual = argc > 1 && strcmp(argv[1], "manual") == 0;
    if (manual)
        GC_set_manual_vdb_allowed(1);
    GC_INIT();
    say("off: %d", GC_is_incremental_mode());
    say("protects: %d", GC_incremental_protection_needs() >= 0);
    GC_enable_incremental();
    say("on: %d, manual: %d", GC_is_incremental_mode() != 0, GC_get_manual_vdb_allowed());
    GC_set_time_limit(2);
    GC_start_incremental_collection();
    struct node *root = GC_MALLOC_UNCOLLECTABLE(sizeof *root);
    for (int i = 0; i < NODES; i++) {
        nodes[i] = GC_MALLOC(sizeof **nodes);
        nodes[i]->number = i;
    }
    long total = 0;
    for (int round = 0; round < ROUNDS; round++) {
        /* Subtrees change places; what is cut off becomes garbage. */
        for (int i = 0; i < 200; i++) {
            struct node *a = nodes[next() % NODES], *b = nodes[next() % NODES];
            struct node *moved = a->left;
            a->left = NULL;
            b->right = moved;
            GC_END_STUBBORN_CHANGE(a);
            GC_END_STUBBORN_CHANGE(b);
            GC_reachable_here(moved);
        }
        unsigned at = next() % NODES;
        nodes[at]->left = tree(6, round);
        GC_END_STUBBORN_CHANGE(nodes[at]);
        root->left = tree(8, round);
        GC_END_STUBBORN_CHANGE(root);
        total += sum(root->left);
        if (round % 10 == 0)
            GC_collect_a_little();
        if (round % 50 == 0)
            GC_start_incremental_collection();
    }
    for (int i = 0; i < NODES; i++)
        total += nodes[i]->left ? sum(nodes[i]->left) : 0;
    say("total: %ld", total);
    int steps = 0;
    while (GC_collect_a_little() && steps < 200000) {
        steps++;
        if (steps > 1000)
            usleep(100);
    }
    say("ends: %d", steps < 200000);
    memset(nodes, 0, sizeof nodes);
    GC_gcollect();
    say("collections: %d", GC_get_gc_no() > 0);
    return 0;
}
