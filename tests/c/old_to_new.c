/* old_to_new SECONDS: old objects on full pages come to refer to new ones, page after page, and each page is left alone for a
 * long time then. A generational collection has to find the new objects all the same. */
#include "check.h"
#include "node.h"
#include <time.h>

extern unsigned long GC_get_gc_no(void) __attribute__((weak));

enum { OLD = 400000 };

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
