/* Checks of pointer arithmetic; what they find goes to procedures that the program may replace. */
#include "oracle.h"

static int different, displaced, invisible;
static void GC_CALLBACK on_different(void *p, void *q)
{
    different += p != q;
}
static void GC_CALLBACK on_displaced(void *p) { displaced += p != NULL; }
static void GC_CALLBACK on_invisible(void *p) { invisible += p != NULL; }

static void *global;

static void same(const char *name, void *p, void *q)
{
    int before = different, first = GC_same_obj(p, q) == p;
    say("%s: %d %d", name, first, different - before);
}

int main(void)
{
    GC_INIT();
    GC_same_obj_print_proc = on_different;
    GC_is_valid_displacement_print_proc = on_displaced;
    GC_is_visible_print_proc = on_invisible;
    char *small = GC_MALLOC(100), *other = GC_MALLOC(100), *large = GC_MALLOC(100000);
    int local;
    same("same", small, small + 99);
    same("large", large, large + 90000);
    same("outside", &local, &global);
    same("other", small, other);
    same("out", small, &local);
    void *p = small;
    void *result = GC_pre_incr(&p, 8);
    say("pre: %d, %d", result == small + 8, p == small + 8);
    result = GC_post_incr(&p, 8);
    say("post: %d, %d", result == small + 8, p == small + 16);
    say("found: %d", different);
    result = GC_is_valid_displacement(small);
    say("displacement: %d %d", result == small, displaced);
    GC_is_valid_displacement(small + 8);
    GC_is_valid_displacement(&local);
    GC_is_valid_displacement(NULL);
    say("displaced: %d", displaced);
    say("visible: %d %d %d", GC_is_visible(&local) == &local, GC_is_visible(&global) == &global,
        GC_is_visible(small) == small);
    say("invisible: %d", invisible);
    GC_PTR_STORE(&global, small);
    GC_PTR_STORE_AND_DIRTY((void **)other, small);
    GC_ptr_store_and_dirty(other + 8, large);
    say("stored: %d", global == small && *(char **)other == small && *(char **)(other + 8) == large);
    return 0;
}
