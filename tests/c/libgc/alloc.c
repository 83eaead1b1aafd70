/* Allocation: zeroing, sizes, bases, growth, lists, strings, alignment, and requests that cannot be met. */
#include "oracle.h"
#include <errno.h>
#include <gc/gc_mark.h>

static int oom_calls;
static void *out_of_memory(size_t size)
{
    oom_calls++;
    say("out of memory: %d", size > (size_t)1 << 40);
    return NULL;
}

static int is_zero(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return 0;
    return 1;
}

typedef void *allocator(size_t);

int main(void)
{
    /* The first call of all, without GC_INIT. */
    say("before init: %d", GC_is_init_called());
    char *first = GC_malloc(10);
    say("first: %d, initialised: %d", first != NULL, GC_is_init_called() != 0);
    GC_INIT();
    GC_set_warn_proc(GC_ignore_warn_proc);
    static const size_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 100, 255, 256, 1000, 2048, 4000, 4096, 5000, 40000, 1000000};
    static allocator *const allocators[] = {GC_malloc, GC_malloc_atomic, GC_malloc_uncollectable,
                                            GC_malloc_atomic_uncollectable, GC_malloc_ignore_off_page,
                                            GC_malloc_atomic_ignore_off_page};
    for (unsigned a = 0; a < sizeof allocators / sizeof *allocators; a++) {
        int good = 0, zero = 0, based = 0, aligned = 0, kind = -1;
        for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            /* Twice, so that memory is used again. */
            for (int round = 0; round < 2; round++) {
                char *p = allocators[a](sizes[s]);
                good += p != NULL && GC_size(p) >= sizes[s];
                zero += is_zero(p, sizes[s]);
                based += GC_base(p) == p && (sizes[s] < 2 || GC_base(p + sizes[s] / 2) == p);
                aligned += (uintptr_t)p % 16 == 0;
                kind = GC_get_kind_and_size(p, NULL);
                memset(p, 0x5a, sizes[s]);
                GC_free(p);
            }
        }
        int zeroed = a == 0 || a == 2 || a == 4;
        say("allocator %u: good %d, zeroed %d, based %d, aligned %d, kind %d", a, good, zeroed ? zero : -1, based, aligned, kind);
    }
    /* Growth keeps contents and kind. */
    char *p = GC_malloc(20), *atomic = GC_malloc_atomic(20), *fixed = GC_malloc_uncollectable(20);
    memset(p, 'p', 20), memset(atomic, 'a', 20), memset(fixed, 'u', 20);
    p = GC_realloc(p, 5000), atomic = GC_realloc(atomic, 5000), fixed = GC_realloc(fixed, 5000);
    say("grown: %c %c %c, rest zero: %d, kinds: %d %d %d", p[19], atomic[19], fixed[19], is_zero(p + 48, 5000 - 48),
        GC_get_kind_and_size(p, NULL), GC_get_kind_and_size(atomic, NULL), GC_get_kind_and_size(fixed, NULL));
    p = GC_realloc(p, 10);
    say("shrunk: %.10s", p);
    say("realloc of NULL: %d, to nothing: %d", GC_realloc(NULL, 8) != NULL, GC_realloc(p, 0) == NULL);
    GC_free(NULL);
    say("strings: %s %s|%s|%s %d", GC_strdup("abc"), GC_strndup("abcdef", 2), GC_strndup("ab", 9), GC_strdup(""),
        GC_strdup(NULL) == NULL);
    for (size_t align = 1; align <= 4096; align *= 4) {
        char *m = GC_memalign(align, 100);
        say("memalign %zu: %d %d", align, (uintptr_t)m % align == 0, GC_base(m) != NULL);
    }
    void *m = NULL;
    say("posix_memalign: %d %d %d", GC_posix_memalign(&m, 3, 10) == EINVAL, GC_posix_memalign(&m, 4, 10) == EINVAL,
        GC_posix_memalign(&m, 64, 10));
    say("aligned: %d", m && (uintptr_t)m % 64 == 0);
    /* A list; each object of it is one of its own. */
    int listed = 0, listed_good = 0;
    for (char *q = GC_malloc_many(40); q != NULL; q = GC_NEXT(q)) {
        listed++;
        listed_good += GC_size(q) >= 40 && GC_base(q) == q && is_zero(q + 8, 32);
    }
    say("list: %d %d", listed > 0, listed == listed_good);
    /* Addresses that are no objects. */
    int local = 0;
    static int global;
    say("no objects: %d %d %d %d %d", GC_base(NULL) == NULL, GC_base(&local) == NULL, GC_base(&global) == NULL,
        GC_is_heap_ptr(&local), GC_is_heap_ptr(NULL));
    say("objects: %d %d", GC_is_heap_ptr(first) != 0, GC_is_heap_ptr(first + 5) != 0);
    /* More than there is. */
    say("NULL for too much: %d", GC_malloc((size_t)-1) == NULL);
    GC_set_oom_fn(out_of_memory);
    volatile size_t much = (size_t)-1 / 4;
    say("%d", GC_malloc(much) == NULL);
    say("%d", GC_malloc_atomic(much) == NULL);
    say("%d", GC_malloc_uncollectable(much) == NULL);
    char *kept = GC_malloc(32);
    strcpy(kept, "kept");
    say("%d %s", GC_realloc(kept, much) == NULL, kept);
    say("%d", GC_memalign(64, much) == NULL);
    say("calls: %d", oom_calls);
    return 0;
}
