/* What the other programs leave out: variables written directly, forgotten roots and exclusions, stubborn objects, objects by kind, debug
 * finalizers in their orders, room between collections, a heap that is not to grow, figures that the program adds. */
#include "oracle.h"
#include <gc/gc_gcj.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/* Exported, though no header of libgc-dev declares them. */
void GC_noop1(GC_word), GC_incr_bytes_allocd(size_t), GC_incr_bytes_freed(size_t);
extern void (*GC_push_other_roots)(void);
extern void (*GC_on_abort)(const char *);
extern void **GC_objfreelist_ptr, **GC_aobjfreelist_ptr, **GC_uobjfreelist_ptr, **GC_auobjfreelist_ptr;

enum { OBJECTS = 100 };
static struct watch watch;
static void *excluded[OBJECTS + 8];

static void fill(void **where)
{
    watch_fill(&watch, where, OBJECTS);
}

static void tell(const char *name)
{
    watch_tell(&watch, name);
}

static void forgotten_roots(void)
{
    void **block = malloc(OBJECTS * sizeof *block);
    GC_add_roots(block, block + OBJECTS);
    fill(block);
    tell("added");
    GC_clear_roots();
    GC_gcollect();
    tell("all forgotten");
    GC_exclude_static_roots(excluded + 4, excluded + 4 + OBJECTS);
    fill(excluded + 4);
    tell("excluded");
    memset(excluded, 0, sizeof excluded);
    int local = 0;
    say("data: %d, stack: %d, malloc: %d", GC_is_tmp_root(excluded) != 0, GC_is_tmp_root(&local), GC_is_tmp_root(block));
    free(block);
}

/* libgc1 then scans data of its own, and crashes. */
static void forgotten_exclusions(void)
{
    GC_exclude_static_roots(excluded + 4, excluded + 4 + OBJECTS);
    GC_clear_exclusion_table();
    fill(excluded + 4);
    tell("exclusions forgotten");
}

static void stubborn_objects(void)
{
    char *p = GC_malloc_stubborn(100), *d = GC_debug_malloc_stubborn(100, __FILE__, __LINE__);
    int zero = 1;
    for (int i = 0; i < 100; i++)
        zero &= p[i] == 0 && d[i] == 0;
    GC_change_stubborn(p);
    GC_debug_change_stubborn(d);
    *(void **)p = d;
    GC_end_stubborn_change(p);
    GC_ptr_store_and_dirty(p + 8, d);
    GC_debug_ptr_store_and_dirty(d + 8, p);
    GC_reachable_here(d);
    say("stubborn: %d %d %d", zero, ((void **)p)[1] == d, ((void **)d)[1] == p);
    say("kinds: %d %d", GC_get_kind_and_size(GC_base(p), NULL), GC_get_kind_and_size(GC_base(d), NULL));
}

static struct GC_ms_entry *whole(GC_word *object, struct GC_ms_entry *top, struct GC_ms_entry *limit, GC_word header)
{
    size_t words = GC_size(object) / sizeof(GC_word);
    for (size_t i = header ? GC_get_debug_header_size() / sizeof(GC_word) : 0; i < words; i++)
        top = GC_MARK_AND_PUSH((void *)object[i], top, limit, (void **)(object + i));
    return top;
}

static void objects_by_kind(void)
{
    GC_alloc_lock();
    void **list = GC_new_free_list_inner();
    unsigned procedure = GC_new_proc_inner(whole);
    unsigned kind = GC_new_kind_inner(list, GC_MAKE_PROC(procedure, 0), 0, 1);
    GC_alloc_unlock();
    void **p = GC_generic_malloc(64, (int)kind);
    void **large = GC_generic_malloc_ignore_off_page(100000, (int)kind);
    say("kind: %d %d", GC_get_kind_and_size(p, NULL) == (int)kind, GC_get_kind_and_size(large, NULL) == (int)kind);
    void **block = GC_MALLOC_UNCOLLECTABLE(2 * sizeof *block);
    block[0] = p;
    block[1] = large;
    watch_start(&watch);
    p[3] = GC_MALLOC(64);
    watch_add(&watch, p[3]);
    large[9999] = GC_MALLOC(64);
    watch_add(&watch, large[9999]);
    tell("through a procedure");
    char *debug = GC_debug_generic_or_special_malloc(50, GC_I_PTRFREE, __FILE__, __LINE__);
    say("debug object of a kind: %d", GC_get_kind_and_size(GC_base(debug), NULL) == GC_I_PTRFREE);
    GC_debug_free(debug);
    debug = GC_debug_malloc_atomic_uncollectable(50, __FILE__, __LINE__);
    say("debug: %d", GC_get_kind_and_size(GC_base(debug), NULL) == GC_get_kind_and_size(GC_malloc_atomic_uncollectable(50), NULL));
    GC_debug_free(debug);
    /* Descriptors behind the first word. */
    static GC_word table[2] = {0, 4 * sizeof(GC_word) | GC_DS_LENGTH};
    GC_init_gcj_malloc(0, (void *)whole);
    void **object = GC_gcj_malloc_ignore_off_page(100000, table);
    say("table: %d, kinds: %d %d", object[0] == table, GC_get_kind_and_size(object, NULL) == GC_gcj_kind,
        GC_get_kind_and_size(GC_base(GC_debug_gcj_malloc(40, table, __FILE__, __LINE__)), NULL) == GC_gcj_debug_kind);
    say("free lists: %d", GC_objfreelist_ptr && GC_aobjfreelist_ptr && GC_uobjfreelist_ptr && GC_auobjfreelist_ptr);
    GC_free(block);
}

/* Pairs of which the first refers to the second, and each to itself. */
static int first_ran, second_ran;
static void GC_CALLBACK ran(void *object, void *data)
{
    (void)object;
    ++*(int *)data;
}

typedef void order(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
NOINLINE static void pairs(order *add, int self)
{
    for (int i = 0; i < OBJECTS; i++) {
        void **first = GC_debug_malloc(40, __FILE__, __LINE__), **second = GC_debug_malloc(40, __FILE__, __LINE__);
        first[0] = second;
        if (self)
            first[1] = first, second[1] = second;
        add(first, ran, &first_ran, NULL, NULL);
        add(second, ran, &second_ran, NULL, NULL);
    }
    clear_stack();
}

static void one_order(const char *name, order *add, int self)
{
    first_ran = second_ran = 0;
    pairs(add, self);
    for (int i = 0; i < 3; i++) {
        clear_stack();
        GC_gcollect();
        int now = GC_invoke_finalizers();
        say("%s, collection %d: %s, %s of %d", name, i + 1, amount(first_ran, OBJECTS), amount(second_ran, OBJECTS), now > 0);
    }
}

static int calls;
static void count_call(void) { calls++; }
static void GC_CALLBACK count_resize(GC_word size) { calls += size > 0; }
static void *GC_CALLBACK no_memory(size_t size)
{
    calls += size > 0;
    return NULL;
}

static void GC_CALLBACK push_finalizers(void)
{
    calls++;
    GC_push_finalizer_structures();
}

static void variables(void)
{
    static void *kept[2000];
    void (*pushed)(void) = GC_push_other_roots;
    GC_push_other_roots = count_call;
    GC_gcollect();
    say("roots pushed: %d, getter: %d", calls > 0, GC_get_push_other_roots() == count_call);
    GC_push_other_roots = push_finalizers;
    calls = 0;
    GC_gcollect();
    GC_push_other_roots = pushed;
    say("finalizers pushed: %d", calls > 0);
    calls = 0;
    GC_on_heap_resize = count_resize;
    for (int i = 0; i < 2000; i++)
        kept[i] = GC_MALLOC(20000);
    say("resized: %d", calls > 0);
    GC_on_heap_resize = NULL;
    memset(kept, 0, sizeof kept);
    GC_oom_func before = GC_oom_fn;
    GC_oom_fn = no_memory;
    calls = 0;
    volatile size_t much = (size_t)1 << 60;
    void *none = GC_malloc(much);
    say("out of memory: %d %d", none == NULL, calls);
    GC_oom_fn = before;
    GC_finalize_on_demand = 1;
    GC_finalizer_notifier = count_call;
    calls = 0;
    pairs(GC_debug_register_finalizer_no_order, 0);
    GC_gcollect();
    say("notified: %d", calls > 0);
    GC_finalizer_notifier = NULL;
    GC_invoke_finalizers();
    struct GC_stack_base base;
    GC_get_stack_base(&base);
    say("stack's end: %d, abort: %d", GC_stackbottom >= (char *)&base, GC_on_abort != NULL);
}

static void figures(void)
{
    GC_gcollect();
    size_t allocated = GC_get_bytes_since_gc(), freed = GC_get_expl_freed_bytes_since_gc();
    GC_incr_bytes_allocd(1 << 20);
    GC_incr_bytes_freed(1 << 19);
    say("freed elsewhere: %d", GC_get_expl_freed_bytes_since_gc() - freed == 1 << 19);
    GC_incr_bytes_allocd(1 << 20);
    say("allocated elsewhere: %d", GC_get_bytes_since_gc() - allocated >= 1 << 20);
    GC_noop1(allocated);
    say("markers: %d %d", GC_get_parallel() >= 0, GC_get_parallel() == GC_parallel);
}

/* Collections in which `bytes` bytes of garbage come and go. */
static int collections_in(size_t bytes)
{
    GC_word before = GC_get_gc_no();
    for (size_t i = 0; i < bytes; i += 1000)
        GC_MALLOC(1000);
    return (int)(GC_get_gc_no() - before);
}

static void *list;
static void room(void)
{
    GC_gcollect();
    say("collections: %d", collections_in(30 << 20) > 0);
    GC_set_min_bytes_allocd(200 << 20);
    GC_gcollect();
    say("with much room: %d", collections_in(30 << 20));
    GC_set_min_bytes_allocd(1);
    GC_gcollect();
    say("as before: %d", collections_in(30 << 20) > 0);
    for (int i = 0; i < 80000; i++) {
        void **next = GC_MALLOC(1000);
        *next = list;
        list = next;
    }
    GC_set_dont_expand(1);
    GC_gcollect();
    size_t size = GC_get_heap_size();
    say("collections of a heap that is not to grow: %d", collections_in(400 << 20) > 3);
    say("grown: %d", GC_get_heap_size() > size + (4 << 20));
    /* It does where a collection does not help. */
    for (int i = 0; i < 20000; i++) {
        void **next = GC_MALLOC(2000);
        *next = list;
        list = next;
    }
    say("grown then: %d", GC_get_heap_size() > size + (4 << 20));
    GC_set_dont_expand(0);
    list = NULL;
}

int main(int argc, char **argv)
{
    GC_INIT();
    if (argc > 1 && strcmp(argv[1], "exclusions") == 0) {
        forgotten_exclusions();
        return 0;
    }
    GC_set_finalize_on_demand(1);
    forgotten_roots();
    stubborn_objects();
    objects_by_kind();
    one_order("ordered", GC_debug_register_finalizer, 0);
    one_order("ordered, with references to itself", GC_debug_register_finalizer, 1);
    one_order("ignoring itself", GC_debug_register_finalizer_ignore_self, 1);
    one_order("no order", GC_debug_register_finalizer_no_order, 1);
    one_order("unreachable", GC_debug_register_finalizer_unreachable, 1);
    variables();
    figures();
    room();
    return 0;
}
