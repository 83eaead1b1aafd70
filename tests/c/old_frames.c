/* Trees that are built by recursion and dropped: how many dead ones a collection keeps, because an old frame's copy of a register refers to them. */
#include <gc/gc.h>
#include "check.h"

struct node {
    struct node *left, *right;
    long number;
};

enum { DEPTH = 12, TREES = 1500, RECENT = 64 };

static void **roots; /* memory that is not scanned: the newest trees' first nodes, cleared when one is collected */
static GC_word collections;
static int most, samples;

static void look(void)
{
    int kept = 0;
    if (GC_get_gc_no() == collections) {
        return;
    }
    collections = GC_get_gc_no();
    for (int i = 0; i < RECENT; i++) {
        kept += roots[i] != NULL;
    }
    most = kept > most ? kept : most;
    samples++;
}

static struct node *new_node(void)
{
    struct node *node = GC_malloc(sizeof *node);
    CHECK(node);
    look();
    return node;
}

static void populate(int depth, struct node *node);

/* A frame of memory that nobody writes: what was there before stays. */
static __attribute__((noinline)) void with_buffer(int depth, struct node *node)
{
    long buffer[22];
    populate(depth, node);
    __asm__ volatile("" : : "r"(buffer) : "memory");
}

static __attribute__((noinline)) void populate(int depth, struct node *node)
{
    if (depth > 0) {
        node->left = new_node();
        node->right = new_node();
        with_buffer(depth - 1, node->left);
        with_buffer(depth - 1, node->right);
    }
}

int main(void)
{
    GC_init();
    roots = GC_malloc_atomic_uncollectable(RECENT * sizeof *roots);
    for (int i = 0; i < RECENT; i++) {
        roots[i] = NULL;
    }
    for (int i = 0; i < TREES; i++) {
        register struct node *tree __asm__("r14") = new_node(); /* populate leaves it alone */
        void **link = &roots[i % RECENT];
        GC_unregister_disappearing_link(link);
        *link = tree;
        CHECK(GC_general_register_disappearing_link(link, tree) == 0);
        with_buffer(DEPTH, tree);
        __asm__ volatile("" : "+r"(tree));
        CHECK(tree->right);
    }
    CHECK(samples >= 10);
    /* The tree at work, and the one before it, whose address lies in a register until the next one's does. */
    printf("at most %d kept in %d collections\n", most, samples);
    puts(most <= 3 ? "ok" : "too many");
    return 0;
}
