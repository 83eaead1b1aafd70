/* gc_inline.h: allocation from free lists that belong to the program, mostly for generated code.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * No lock is taken and nothing is added to the size: a pointer just past the end of such an object does not keep it. */
#ifndef GC_INLINE_H
#define GC_INLINE_H
#include "gc.h"
#include "gc_tiny_fl.h"

#if GC_GNUC_PREREQ(3, 0)
#define GC_EXPECT(expr, outcome) __builtin_expect(expr, outcome)
#else
#define GC_EXPECT(expr, outcome) (expr)
#endif
#ifndef GC_ASSERT
#ifdef NDEBUG
#define GC_ASSERT(expr)
#else
#include <assert.h>
#define GC_ASSERT(expr) assert(expr)
#endif
#endif
#ifndef GC_PREFETCH_FOR_WRITE
#if GC_GNUC_PREREQ(3, 0) && !defined(GC_NO_PREFETCH_FOR_WRITE)
#define GC_PREFETCH_FOR_WRITE(x) __builtin_prefetch((x), 1)
#else
#define GC_PREFETCH_FOR_WRITE(x) (void)0
#endif
#endif
#ifndef GC_FAST_M_AO_STORE
#define GC_FAST_M_AO_STORE(list, value) (void)(*(list) = (value))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The kinds of GC_malloc_atomic and GC_malloc. */
#define GC_I_PTRFREE 0
#define GC_I_NORMAL 1

/* Stores a list of fresh objects of a size and kind, linked through their first word. */
GC_API void GC_CALL GC_generic_malloc_many(size_t, int, void **);
/* GC_malloc and GC_malloc_atomic with the kind as an argument. */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_kind(size_t, int);
#ifdef GC_THREADS
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_kind_global(size_t, int);
#else
#define GC_malloc_kind_global GC_malloc_kind
#endif
GC_API void GC_CALL GC_print_free_list(int, size_t);

/* Sets `result` to an object of so many granules from the array `tiny_fl`. `default_expr` allocates what is too large for the
 * array, and, when the entries began as 1, the first `num_direct` granules of each size. `init` is run on each object that
 * comes from a list. A list entry below GC_TINY_FREELISTS + num_direct + 2 is a count, not a pointer. */
#define GC_FAST_MALLOC_GRANS(result, granules, tiny_fl, num_direct, kind, default_expr, init) \
    do { \
        if (GC_EXPECT((granules) >= GC_TINY_FREELISTS, 0)) { \
            result = (default_expr); \
        } else { \
            void **gc_list_ = (tiny_fl) + (granules); \
            void *gc_head_ = *gc_list_; \
            int gc_direct_ = 0; \
            while (GC_EXPECT((GC_word)gc_head_ <= (GC_word)(num_direct) + GC_TINY_FREELISTS + 1, 0)) { \
                if (gc_head_ != NULL && (GC_signed_word)gc_head_ <= (GC_signed_word)(num_direct)) { \
                    GC_FAST_M_AO_STORE(gc_list_, (char *)gc_head_ + (granules) + 1); \
                    gc_direct_ = 1; \
                    break; \
                } \
                GC_generic_malloc_many((granules) == 0 ? GC_GRANULE_BYTES : GC_RAW_BYTES_FROM_INDEX(granules), kind, \
                                       gc_list_); \
                gc_head_ = *gc_list_; \
                if (gc_head_ == NULL) \
                    break; \
            } \
            if (gc_direct_) { \
                result = (default_expr); \
            } else if (GC_EXPECT(gc_head_ == NULL, 0)) { \
                result = (*GC_get_oom_fn())((granules) * GC_GRANULE_BYTES); \
            } else { \
                void *gc_next_ = *(void **)gc_head_; \
                result = gc_head_; \
                GC_FAST_M_AO_STORE(gc_list_, gc_next_); \
                init; \
                GC_PREFETCH_FOR_WRITE(gc_next_); \
                if ((kind) != GC_I_PTRFREE) { \
                    GC_end_stubborn_change(gc_list_); \
                    GC_reachable_here(gc_next_); \
                } \
                GC_ASSERT(GC_size(result) >= (granules) * GC_GRANULE_BYTES); \
            } \
        } \
    } while (0)

#define GC_WORDS_TO_WHOLE_GRANULES(n) GC_WORDS_TO_GRANULES((n) + GC_GRANULE_WORDS - 1)

/* The same with the size in words. */
#define GC_MALLOC_WORDS_KIND(result, n, tiny_fl, kind, init) \
    do { \
        size_t gc_granules_ = GC_WORDS_TO_WHOLE_GRANULES(n); \
        GC_FAST_MALLOC_GRANS(result, gc_granules_, tiny_fl, 0, kind, \
                             GC_malloc_kind(gc_granules_ * GC_GRANULE_BYTES, kind), init); \
    } while (0)
#define GC_MALLOC_WORDS(result, n, tiny_fl) \
    GC_MALLOC_WORDS_KIND(result, n, tiny_fl, GC_I_NORMAL, *(void **)(result) = NULL)
#define GC_MALLOC_ATOMIC_WORDS(result, n, tiny_fl) GC_MALLOC_WORDS_KIND(result, n, tiny_fl, GC_I_PTRFREE, (void)0)

/* A pair. */
#define GC_CONS(result, first, second, tiny_fl) \
    do { \
        void *gc_first_ = (void *)(first); \
        void *gc_second_ = (void *)(second); \
        GC_MALLOC_WORDS_KIND(result, 2, tiny_fl, GC_I_NORMAL, (void)0); \
        if ((result) != NULL) { \
            *(void **)(result) = gc_first_; \
            GC_PTR_STORE_AND_DIRTY((void **)(result) + 1, gc_second_); \
            GC_reachable_here(gc_first_); \
        } \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
