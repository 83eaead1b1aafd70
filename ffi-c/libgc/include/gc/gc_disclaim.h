/* gc_disclaim.h: a procedure per kind that is asked before an object is reclaimed.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef GC_DISCLAIM_H
#define GC_DISCLAIM_H
#include "gc.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Called with the allocation lock held for an unreachable object; a result other than 0 keeps it for this collection. */
typedef int(GC_CALLBACK *GC_disclaim_proc)(void *);

/* Sets the procedure of a kind. With the last argument other than 0, whatever the objects of the kind refer to outlives them.
 * GC_free does not ask. */
GC_API void GC_CALL GC_register_disclaim_proc(int, GC_disclaim_proc, int) GC_ATTR_NONNULL(2);

/* What GC_finalized_malloc calls: proc(object, cd). */
struct GC_finalizer_closure {
    GC_finalization_proc proc;
    void *cd;
};

/* Objects that are finalized as they are reclaimed; the procedure must not keep them. Call the first function once before the
 * second. GC_base of such an object is one word below it. */
GC_API void GC_CALL GC_init_finalized_malloc(void);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_finalized_malloc(size_t, const struct GC_finalizer_closure *)
    GC_ATTR_NONNULL(2);

#ifdef __cplusplus
}
#endif
#endif
