/* gc_gcj.h: objects whose first word leads to their own mark descriptor, as a vtable does.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The descriptor lies at the offset of the structure's second word. */
#ifndef GC_GCJ_H
#define GC_GCJ_H
#include "gc.h"
#ifdef __cplusplus
extern "C" {
#endif

/* To be called before any of the allocators: the index of a mark procedure, and the procedure (a GC_mark_proc of gc_mark.h).
 * It marks objects of the debugging allocator, with environment 1. */
GC_API void GC_CALL GC_init_gcj_malloc(int, void *);

/* Zeroed objects; the second argument is stored in their first word. */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_gcj_malloc(size_t, void *);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_debug_gcj_malloc(size_t, void *, GC_EXTRA_PARAMS);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_gcj_malloc_ignore_off_page(size_t, void *);

/* The kinds of such objects. */
GC_API int GC_gcj_kind;
GC_API int GC_gcj_debug_kind;

#ifdef GC_DEBUG
#define GC_GCJ_MALLOC(s, d) GC_debug_gcj_malloc(s, d, GC_EXTRAS)
#define GC_GCJ_MALLOC_IGNORE_OFF_PAGE(s, d) GC_debug_gcj_malloc(s, d, GC_EXTRAS)
#else
#define GC_GCJ_MALLOC(s, d) GC_gcj_malloc(s, d)
#define GC_GCJ_MALLOC_IGNORE_OFF_PAGE(s, d) GC_gcj_malloc_ignore_off_page(s, d)
#endif

#ifdef __cplusplus
}
#endif
#endif
