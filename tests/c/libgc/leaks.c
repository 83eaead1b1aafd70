/* Leak finding: what is unreachable and was not freed is reported with its source position, once, and nothing else. */
#ifndef GC_DEBUG
#define GC_DEBUG
#endif
#include "oracle.h"

enum { OBJECTS = 15 };
static void *kept[OBJECTS];

NOINLINE static void work(void)
{
    for (int i = 0; i < OBJECTS; i++) {
        char *lost = GC_MALLOC(40);
        lost[0] = 1;
        char *atomic = GC_MALLOC_ATOMIC(60);
        atomic[0] = 1;
        char *freed = GC_MALLOC(40);
        freed[0] = 1;
        GC_FREE(freed);
        kept[i] = GC_MALLOC(40);
    }
    clear_stack();
}

int main(void)
{
    GC_set_find_leak(1);
    GC_INIT();
    say("find_leak: %d", GC_get_find_leak());
    work();
    /* A report names only some at a time. */
    for (int i = 0; i < 5; i++)
        collect();
    int intact = 0;
    for (int i = 0; i < OBJECTS; i++)
        intact += kept[i] != NULL;
    say("kept: %d", intact);
    char *link = GC_MALLOC(16);
    say("links: %d", GC_general_register_disappearing_link((void **)&kept[0], GC_base(link)));
    GC_FREE(link);
    for (int i = 0; i < OBJECTS; i++)
        GC_FREE(kept[i]);
    memset(kept, 0, sizeof kept);
    collect();
    say("done");
    return 0;
}
