/* gc_backptr.h: what refers to an object.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Found out when it is asked, with the world stopped, for objects of all allocators. Debian's library has none of these functions. */
#ifndef GC_BACKPTR_H
#define GC_BACKPTR_H
#include "gc.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    GC_UNREFERENCED,
    GC_NO_SPACE,
    GC_REFD_FROM_ROOT,
    GC_REFD_FROM_REG,
    GC_REFD_FROM_HEAP,
    GC_FINALIZER_REFD
} GC_ref_kind;

/* What refers to the object around an address: the start of the holder's own part and the offset in it, or the root's address. */
GC_API GC_ref_kind GC_CALL GC_get_back_ptr_info(void *, void **, size_t *) GC_ATTR_NONNULL(1);
GC_API void *GC_CALL GC_generate_random_heap_address(void);
GC_API void *GC_CALL GC_generate_random_valid_address(void);
/* Collects, and prints the chain of references that leads to some object, or to the given one. */
GC_API void GC_CALL GC_generate_random_backtrace(void);
GC_API void GC_CALL GC_print_backtrace(void *) GC_ATTR_NONNULL(1);

#ifdef __cplusplus
}
#endif
#endif
