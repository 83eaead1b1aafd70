/* A list of collected nodes that know their own address: what was freed and used again is found out. After check.h. */
#ifndef NODE_H
#define NODE_H

extern void *GC_malloc(size_t) __attribute__((weak));

struct node {
    struct node *next, *young;
    uintptr_t check, unused;
};

static struct node *list;

static uintptr_t check_of(const struct node *n) { return ~(uintptr_t)n * 0x9e3779b97f4a7c15u; }

static struct node *node_new(struct node *next)
{
    struct node *n = GC_malloc(sizeof *n);
    CHECK(n);
    n->next = next;
    n->check = check_of(n);
    return n;
}

#endif
