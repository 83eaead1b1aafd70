/* A kind whose objects the program describes where they are printed: libgc1 asks about reachable ones only. */
#include "oracle.h"
#include <gc/gc_mark.h>

static void GC_CALLBACK describe(void *object, char *text)
{
    sprintf(text, "my type %ld", *(long *)object);
}

NOINLINE static void leak(int kind)
{
    *(volatile long *)GC_generic_malloc(48, kind) = 7;
    clear_stack();
}

int main(void)
{
    GC_set_find_leak(1);
    GC_INIT();
    int kind = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    GC_register_describe_type_fn(kind, describe);
    leak(kind);
    collect();
    say("done");
    return 0;
}
