/* gc_typed.h: objects whose pointer fields are described by a bitmap.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Bit i of a bitmap, counted from the lowest bit of its first word, tells whether word i of the object may be a pointer. For
 * a structure type T:
 *
 *     GC_word bitmap[GC_BITMAP_SIZE(T)] = {0};
 *     GC_set_bit(bitmap, GC_WORD_OFFSET(T, next));
 *     GC_descr descriptor = GC_make_descriptor(bitmap, GC_WORD_LEN(T));
 */
#ifndef GC_TYPED_H
#define GC_TYPED_H
#include "gc.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef GC_word *GC_bitmap;
typedef GC_word GC_descr;

#define GC_WORDSZ (8 * sizeof(GC_word))
#define GC_get_bit(bm, index) (((bm)[(index) / GC_WORDSZ] >> ((index) % GC_WORDSZ)) & 1)
#define GC_set_bit(bm, index) ((bm)[(index) / GC_WORDSZ] |= (GC_word)1 << ((index) % GC_WORDSZ))
#define GC_WORD_OFFSET(t, f) (offsetof(t, f) / sizeof(GC_word))
#define GC_WORD_LEN(t) (sizeof(t) / sizeof(GC_word))
#define GC_BITMAP_SIZE(t) ((GC_WORD_LEN(t) + GC_WORDSZ - 1) / GC_WORDSZ)

/* The descriptor of a bitmap of so many bits; words behind them hold no pointers. Make one per type, not one per object:
 * descriptors are never freed. */
GC_API GC_descr GC_CALL GC_make_descriptor(const GC_word *, size_t);

/* Zeroed objects of a described type, and arrays of them. Not to be passed to GC_realloc. */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_explicitly_typed(size_t, GC_descr);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_explicitly_typed_ignore_off_page(size_t, GC_descr);
GC_API GC_ATTR_MALLOC GC_ATTR_CALLOC_SIZE(1, 2) void *GC_CALL GC_calloc_explicitly_typed(size_t, size_t, GC_descr);

#ifdef GC_DEBUG
#define GC_MALLOC_EXPLICITLY_TYPED(bytes, d) ((void)(d), GC_MALLOC(bytes))
#define GC_CALLOC_EXPLICITLY_TYPED(n, bytes, d) ((void)(d), GC_MALLOC((n) * (bytes)))
#else
#define GC_MALLOC_EXPLICITLY_TYPED(bytes, d) GC_malloc_explicitly_typed(bytes, d)
#define GC_CALLOC_EXPLICITLY_TYPED(n, bytes, d) GC_calloc_explicitly_typed(n, bytes, d)
#endif

#ifdef __cplusplus
}
#endif
#endif
