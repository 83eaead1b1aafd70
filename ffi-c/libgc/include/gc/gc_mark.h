/* gc_mark.h: kinds of objects, mark procedures, mark bits, and roots that the program pushes itself.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * For language runtimes. Functions that end in _inner are called with the allocation lock held. */
#ifndef GC_MARK_H
#define GC_MARK_H
#include "gc.h"
#ifdef __cplusplus
extern "C" {
#endif

/* An entry of the mark stack. Programs only hand pointers to it back. */
#ifdef NOT_GCBUILD
struct GC_ms_entry;
#else
struct GC_ms_entry {
    void *opaque;
};
#endif

/* A mark procedure gets an object, the top and the limit of the mark stack, and the environment in its descriptor. It hands
 * each pointer it finds to GC_mark_and_push, and returns the new top. It may see free memory (zero but for the first word)
 * and run in several threads at once. GC_PROC_BYTES is about what one call should look at. */
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *, struct GC_ms_entry *, struct GC_ms_entry *, GC_word);
#define GC_PROC_BYTES 100
#define GC_LOG_MAX_MARK_PROCS 6
#define GC_MAX_MARK_PROCS (1 << GC_LOG_MAX_MARK_PROCS)
#define GC_RESERVED_MARK_PROCS 8
#define GC_GCJ_RESERVED_MARK_PROC_INDEX 0

/* A descriptor tells where an object holds pointers; its two lowest bits tell how it does so:
 * LENGTH: so many bytes may be pointers; BITMAP: the highest bit stands for the first word; PROC: made by GC_MAKE_PROC;
 * PER_OBJECT: the rest is the offset in the object of its real descriptor, or, when negative, the offset is taken (with
 * GC_INDIR_PER_OBJ_BIAS) in what the object's first word points to. */
#define GC_DS_TAG_BITS 2
#define GC_DS_TAGS ((1 << GC_DS_TAG_BITS) - 1)
#define GC_DS_LENGTH 0
#define GC_DS_BITMAP 1
#define GC_DS_PROC 2
#define GC_DS_PER_OBJECT 3
#define GC_INDIR_PER_OBJ_BIAS 0x10
#define GC_MAKE_PROC(proc_index, env) \
    (((((env) << GC_LOG_MAX_MARK_PROCS) | (proc_index)) << GC_DS_TAG_BITS) | GC_DS_PROC)

/* No object lies outside of these bounds. */
GC_API void *GC_least_plausible_heap_addr;
GC_API void *GC_greatest_plausible_heap_addr;

/* For mark procedures: marks the object and has it scanned. The last argument is where the pointer was found. */
GC_API struct GC_ms_entry *GC_CALL GC_mark_and_push(void *, struct GC_ms_entry *, struct GC_ms_entry *, void **);
#define GC_MARK_AND_PUSH(obj, msp, lim, src) \
    ((GC_word)(obj) >= (GC_word)GC_least_plausible_heap_addr && \
             (GC_word)(obj) <= (GC_word)GC_greatest_plausible_heap_addr \
         ? GC_mark_and_push(obj, msp, lim, src) \
         : (msp))

/* How far behind GC_base an object of a debugging allocator begins. */
GC_API GC_ATTR_CONST size_t GC_CALL GC_get_debug_header_size(void);
GC_API GC_ATTR_DEPRECATED size_t GC_debug_header_size;
#define GC_USR_PTR_FROM_BASE(p) ((void *)((char *)(p) + GC_get_debug_header_size()))

/* Kinds. A new kind has a free list, a descriptor, whether the object's size is added to it, and whether objects are zeroed. */
GC_API void **GC_CALL GC_new_free_list(void);
GC_API void **GC_CALL GC_new_free_list_inner(void);
GC_API unsigned GC_CALL GC_new_kind(void **, GC_word, int, int) GC_ATTR_NONNULL(1);
GC_API unsigned GC_CALL GC_new_kind_inner(void **, GC_word, int, int) GC_ATTR_NONNULL(1);
/* The index of a mark procedure, for GC_MAKE_PROC. */
GC_API unsigned GC_CALL GC_new_proc(GC_mark_proc);
GC_API unsigned GC_CALL GC_new_proc_inner(GC_mark_proc);

/* Objects of a kind. The _or_special_ forms take the kind of any object, as GC_get_kind_and_size tells it. */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_generic_malloc(size_t, int);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_generic_malloc_ignore_off_page(size_t, int);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_generic_malloc_uncollectable(size_t, int);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_generic_or_special_malloc(size_t, int);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_debug_generic_or_special_malloc(size_t, int,
                                                                                             GC_EXTRA_PARAMS);
#ifdef GC_DEBUG
#define GC_GENERIC_OR_SPECIAL_MALLOC(sz, knd) GC_debug_generic_or_special_malloc(sz, knd, GC_EXTRAS)
#else
#define GC_GENERIC_OR_SPECIAL_MALLOC(sz, knd) GC_generic_or_special_malloc(sz, knd)
#endif
GC_API int GC_CALL GC_get_kind_and_size(const void *, size_t *) GC_ATTR_NONNULL(1);

/* Writes what an object is into a buffer of GC_TYPE_DESCR_LEN bytes, for reports on objects of a kind. */
typedef void(GC_CALLBACK *GC_describe_type_fn)(void *, char *);
#define GC_TYPE_DESCR_LEN 40
GC_API void GC_CALL GC_register_describe_type_fn(int, GC_describe_type_fn);

/* Clears stack below the caller; returns its argument. */
GC_API void *GC_CALL GC_clear_stack(void *);

/* Called at the start of each full collection, with the allocation lock held: it must not allocate. */
typedef void(GC_CALLBACK *GC_start_callback_proc)(void);
GC_API void GC_CALL GC_set_start_callback(GC_start_callback_proc);
GC_API GC_start_callback_proc GC_CALL GC_get_start_callback(void);

/* Mark bits, with the allocation lock held. */
GC_API int GC_CALL GC_is_marked(const void *) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_clear_mark_bit(const void *) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_set_mark_bit(const void *) GC_ATTR_NONNULL(1);

/* Memory to scan, from a push-other-roots procedure. The procedure that was set before should be called, too. */
GC_API void GC_CALL GC_push_all(void *, void *);
GC_API void GC_CALL GC_push_all_eager(void *, void *);
GC_API void GC_CALL GC_push_conditional(void *, void *, int);
GC_API void GC_CALL GC_push_finalizer_structures(void);
typedef void(GC_CALLBACK *GC_push_other_roots_proc)(void);
GC_API void GC_CALL GC_set_push_other_roots(GC_push_other_roots_proc);
GC_API GC_push_other_roots_proc GC_CALL GC_get_push_other_roots(void);

/* Calls a function with each object that is marked: its base, its size and the last argument. */
typedef void(GC_CALLBACK *GC_reachable_object_proc)(void *, size_t, void *);
GC_API void GC_CALL GC_enumerate_reachable_objects_inner(GC_reachable_object_proc, void *) GC_ATTR_NONNULL(1);

/* Whether an address is a root of a loaded library; the others only in libraries built for tracing. */
GC_API int GC_CALL GC_is_tmp_root(void *);
GC_API void GC_CALL GC_print_trace(GC_word);
GC_API void GC_CALL GC_print_trace_inner(GC_word);

#ifdef __cplusplus
}
#endif
#endif
