/* NULL, addresses that are no objects, and interior pointers for whatever takes a pointer and is said to bear it. */
#include "oracle.h"
#include <gc/gc_mark.h>
#include <gc/javaxfc.h>
#pragma GCC diagnostic ignored "-Wnonnull"

static void GC_CALLBACK finalize(void *object, void *data) { (void)object, (void)data; }
static int global;

int main(void)
{
    /* Before GC_init. */
    say("before: %d %d %lu", GC_is_init_called(), GC_thread_is_registered() != 0, (unsigned long)GC_get_gc_no());
    GC_free(NULL);
    GC_debug_free(NULL);
    say("sizes: %d %d %d", GC_get_heap_size() == 0, GC_get_total_bytes() == 0, GC_get_free_bytes() == 0);
    say("finalizers: %d", GC_should_invoke_finalizers());
    GC_set_max_heap_size(0);
    GC_INIT();
    GC_INIT();
    GC_init();
    int local = 0;
    char *object = GC_MALLOC(100), *mapped = malloc(100);
    void *const addresses[] = {NULL, &local, &global, mapped, (void *)main, (void *)1, (void *)-1, (void *)(1UL << 46)};
    for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        void *p = addresses[i];
        int based = GC_base(p) != NULL, on_heap = GC_is_heap_ptr(p);
        GC_finalization_proc old = finalize;
        void *data = p;
        GC_register_finalizer(p, finalize, NULL, &old, &data);
        int plain = old == NULL && data == NULL;
        old = finalize;
        GC_register_finalizer_no_order(p, finalize, NULL, &old, &data);
        GC_register_finalizer_ignore_self(p, finalize, NULL, NULL, NULL);
        GC_register_finalizer_unreachable(p, finalize, NULL, NULL, NULL);
        say("address %u: %d %d %d %d", i, based, on_heap, plain, old == NULL);
        say("links: %d %d", GC_unregister_disappearing_link(p), GC_unregister_long_link(p));
        GC_clear_stack(NULL);
    }
    say("realloc: %d", GC_realloc(NULL, 0) != NULL);
    for (int offset = 0; offset <= 100; offset += 20)
        say("interior %d: %d %d", offset, GC_base(object + offset) == object, GC_is_heap_ptr(object + offset) != 0);
    /* Ranges that are empty or hold nothing. */
    GC_add_roots(&global, &global);
    GC_remove_roots(&global, &global);
    GC_remove_roots(mapped, mapped + 100);
    GC_register_finalizer(object, NULL, NULL, NULL, NULL);
    say("nothing to do: %d", GC_invoke_finalizers());
    GC_gcollect();
    /* The same twice. */
    GC_allow_register_threads();
    GC_allow_register_threads();
    GC_start_mark_threads();
    struct GC_stack_base base;
    GC_get_stack_base(&base);
    say("registered: %d", GC_register_my_thread(&base));
    GC_deinit();
    GC_deinit();
    say("end");
    return 0;
}
