/* old_to_new SECONDS: old objects on full pages come to refer to new ones, page after page, and each page is left alone for a
 * long time then. A generational collection has to find the new objects all the same. */
#include "check.h"
#include <time.h>

extern void *GC_malloc(size_t) __attribute__((weak));
extern unsigned long GC_get_gc_no(void) __attribute__((weak));

enum { OLD = 400000 };

struct node {
    struct node *next, *young;
    uintptr_t check, unused;
};

static uintptr_t check_of(const struct node *n) { return ~(uintptr_t)n * 0x9e3779b97f4a7c15u; }

static struct node *node_new(struct node *next)
{
    struct node *n = GC_malloc(sizeof *n);
    CHECK(n);
    n->next = next;
    n->check = check_of(n);
    return n;
}

static struct node *list;

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    if (!GC_malloc)
        return 0;
    for (int i = 0; i < OLD; i++)
        list = node_new(list);
    time_t end = time(NULL) + atoi(argv[1]);
    do {
        int i = 0;
        for (struct node *n = list; n; n = n->next, i++) {
            CHECK(n->check == check_of(n));
            if (n->young)
                CHECK(n->young->check == check_of(n->young));
            n->young = node_new(NULL);
            for (int k = 0; k < 8; k++)
                node_new(NULL);
        }
        CHECK(i == OLD);
    } while (time(NULL) < end);
    printf("collections %lu\n", GC_get_gc_no());
    return 0;
}
