/* What refers to an object, step by step as far as a root. The functions are looked up: the library that this is linked with has none. */
#include "oracle.h"
#include <dlfcn.h>
#include <gc/gc_backptr.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>
#pragma GCC diagnostic ignored "-Wnonnull"

static __typeof__(GC_get_back_ptr_info) *info;
static __typeof__(GC_generate_random_heap_address) *any_address, *object_address;
static __typeof__(GC_generate_random_backtrace) *random_backtrace;
static __typeof__(GC_print_backtrace) *backtrace;

static void *root, *more[4];
static void GC_CALLBACK done(void *object, void *data) { (void)object, (void)data; }

static void **object(void)
{
    return GC_MALLOC(48);
}

/* The way from an object to a root: names of what is passed. */
static void way(const char *name, uintptr_t hidden)
{
    static const char *const kinds[] = {"nothing", "no memory", "root", "register", "heap", "finalizer"};
    printf("%s:", name);
    void *at = reveal(hidden);
    for (int i = 0; i < 100; i++) {
        void *base = NULL;
        size_t offset = 0;
        GC_ref_kind kind = info(at, &base, &offset);
        printf(" %s", kinds[kind]);
        if (kind == GC_REFD_FROM_ROOT && (char *)base >= (char *)&root - 256 && (char *)base < (char *)&root + 256)
            printf(" (%s)", base == &root ? "root" : "more");
        if (kind != GC_REFD_FROM_HEAP)
            break;
        printf(" +%zu%s", offset, *(void **)((char *)base + offset) == at || GC_base(*(void **)((char *)base + offset)) == GC_base(at)
                                     ? "" : " wrong");
        at = base;
    }
    printf("\n");
    fflush(stdout);
}

/* A chain of objects with circles in it; the hidden address of the last one. */
NOINLINE static uintptr_t chain(int length)
{
    void **first = object(), **last = first;
    root = first;
    for (int i = 1; i < length; i++) {
        void **next = object();
        last[1] = next;
        next[2] = last;
        next[3] = first;
        next[4] = next;
        last = next;
    }
    return hide(last);
}

NOINLINE static uintptr_t atomic_in(void **where, int at)
{
    where[at] = GC_MALLOC_ATOMIC(100);
    return hide(where[at]);
}

NOINLINE static uintptr_t large(void)
{
    void **big = GC_MALLOC(1 << 20);
    more[1] = big;
    big[100000] = object();
    return hide((char *)big[100000] + 20);
}

NOINLINE static uintptr_t typed(void)
{
    GC_word map[1] = {1 << 3};
    void **holder = GC_malloc_explicitly_typed(48, GC_make_descriptor(map, 4));
    holder[3] = object();
    more[2] = holder;
    return hide(holder[3]);
}

NOINLINE static uintptr_t debug(void)
{
    void **holder = GC_debug_malloc(48, __FILE__, __LINE__);
    more[3] = holder;
    holder[5] = GC_debug_malloc_atomic(10, __FILE__, __LINE__);
    return hide(holder[5]);
}

NOINLINE static uintptr_t data_of_finalizer(void)
{
    void *data = GC_MALLOC_ATOMIC(30);
    GC_register_finalizer(root, done, data, NULL, NULL);
    return hide(data);
}

NOINLINE static uintptr_t of_no_one(void)
{
    return hide(GC_MALLOC(24));
}

NOINLINE static uintptr_t uncollectable(void)
{
    void *volatile *holder = GC_MALLOC_UNCOLLECTABLE(64);
    holder[7] = object();
    return hide(holder[7]);
}

int main(void)
{
    GC_INIT();
    *(void **)&info = dlsym(RTLD_DEFAULT, "GC_get_back_ptr_info");
    *(void **)&any_address = dlsym(RTLD_DEFAULT, "GC_generate_random_heap_address");
    *(void **)&object_address = dlsym(RTLD_DEFAULT, "GC_generate_random_valid_address");
    *(void **)&random_backtrace = dlsym(RTLD_DEFAULT, "GC_generate_random_backtrace");
    *(void **)&backtrace = dlsym(RTLD_DEFAULT, "GC_print_backtrace");
    if (!info || !any_address || !object_address || !random_backtrace || !backtrace)
        return 1;
    uintptr_t last = chain(1);
    clear_stack();
    way("one object", last);
    last = chain(6);
    clear_stack();
    way("a chain with circles", last);
    more[0] = object();
    uintptr_t hidden = atomic_in(more[0], 5);
    clear_stack();
    way("without references", hidden);
    hidden = large();
    clear_stack();
    way("in a large object, from the middle", hidden);
    hidden = typed();
    clear_stack();
    way("by a descriptor", hidden);
    hidden = debug();
    clear_stack();
    way("debug objects", hidden);
    hidden = data_of_finalizer();
    clear_stack();
    way("a finalizer's data", hidden);
    hidden = uncollectable();
    clear_stack();
    way("in an uncollectable object", hidden);
    void *base;
    size_t offset;
    say("no objects: %d %d %d", info(NULL, &base, &offset), info(&root, &base, &offset), info((void *)1, &base, &offset));
    hidden = of_no_one();
    clear_stack();
    GC_ref_kind kind = info(reveal(hidden), &base, &offset);
    say("on the stack at most: %d", kind == GC_UNREFERENCED || kind == GC_REFD_FROM_ROOT || kind == GC_REFD_FROM_REG);
    int good = 0, found = 0;
    for (int i = 0; i < 100; i++) {
        good += any_address() != NULL;
        found += GC_base(object_address()) != NULL;
    }
    say("some addresses: %d %d", good, found);
    backtrace(reveal(last));
    hidden = debug();
    backtrace(reveal(hidden));
    backtrace(&root);
    random_backtrace();
    GC_gcollect();
    say("all there: %d", ((void **)root)[1] != NULL && GC_base(((void **)more[0])[5]) != NULL);
    return 0;
}
