/* Debugging allocators: contents, headers, growth, finalizers and links through them, and objects with smashed ends. */
#define GC_DEBUG
#include "oracle.h"
#include <gc/gc_mark.h>

static long ran;
static void GC_CALLBACK count(void *object, void *data)
{
    ran += *(long *)object == 5 && data == &ran;
}

NOINLINE static void with_finalizers(void)
{
    for (int i = 0; i < 50; i++) {
        long *object = GC_MALLOC(40);
        *object = 5;
        GC_REGISTER_FINALIZER(object, count, &ran, NULL, NULL);
    }
    clear_stack();
}

NOINLINE static void smash(int which)
{
    char *object = GC_MALLOC(40);
    if (which == 0)
        object[40] = 'x';
    else if (which == 1)
        object[-1] = 'x';
    else
        object[48] = 'x';
    GC_FREE(object);
}

NOINLINE static char *smash_and_keep(void)
{
    char *object = GC_MALLOC_ATOMIC(24);
    memset(object, 'x', 25);
    return object;
}

static char *volatile held;

int main(int argc, char **argv)
{
    GC_INIT();
    if (argc > 1) {
        if (strcmp(argv[1], "collect") == 0) {
            held = smash_and_keep();
            GC_gcollect();
            GC_gcollect();
        } else
            smash(atoi(argv[1]));
        say("smashed");
        return 0;
    }
    say("header: %d", GC_get_debug_header_size() > 0);
    char *p = GC_MALLOC(40), *a = GC_MALLOC_ATOMIC(40), *u = GC_MALLOC_UNCOLLECTABLE(40);
    say("base: %d %d %d", GC_USR_PTR_FROM_BASE(GC_base(p)) == p, GC_USR_PTR_FROM_BASE(GC_base(a)) == a,
        GC_USR_PTR_FROM_BASE(GC_base(u)) == u);
    int zero = 1;
    for (int i = 0; i < 40; i++)
        zero &= p[i] == 0 && u[i] == 0;
    say("zeroed: %d", zero);
    memset(p, 'p', 40);
    memset(a, 'a', 40);
    memset(u, 'u', 40);
    p = GC_REALLOC(p, 400);
    a = GC_REALLOC(a, 20);
    u = GC_REALLOC(u, 4000);
    say("grown: %c %c %c", p[39], a[19], u[39]);
    say("realloc of NULL: %d", GC_REALLOC(NULL, 10) != NULL);
    say("strings: %s %s", GC_STRDUP("abc"), GC_STRNDUP("abcdef", 2));
    char *replacement = GC_debug_malloc_replacement(10);
    replacement = GC_debug_realloc_replacement(replacement, 1000);
    say("replacement: %d", replacement != NULL);
    GC_debug_free(replacement);
    GC_FREE(p);
    GC_FREE(a);
    GC_FREE(u);
    GC_FREE(NULL);
    say("off page: %d %d", GC_MALLOC_IGNORE_OFF_PAGE(5000) != NULL, GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(5000) != NULL);
    char *plain = GC_malloc(10);
    GC_FREE(GC_MALLOC(0));
    GC_free(plain);
    GC_set_finalize_on_demand(1);
    with_finalizers();
    settle();
    say("finalized: %s", amount(ran, 50));
    struct watch watch;
    watch_start(&watch);
    for (int i = 0; i < 50; i++)
        watch_add(&watch, GC_MALLOC(100));
    held = GC_MALLOC(100);
    collect();
    say("watched: %s", watch_amount(&watch));
    GC_REGISTER_DISPLACEMENT(8);
    GC_END_STUBBORN_CHANGE(held);
    return 0;
}
