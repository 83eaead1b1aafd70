/* gc_tiny_fl.h: sizes of the free lists that gc_inline.h allocates from.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A list array has GC_TINY_FREELISTS entries; entry i holds objects of i granules, entry 0 objects of one. The values are
 * compiled into programs. */
#ifndef GC_TINY_FL_H
#define GC_TINY_FL_H
#ifndef GC_GRANULE_BYTES
#define GC_GRANULE_BYTES 16
#define GC_GRANULE_WORDS 2
#endif
#define GC_WORDS_TO_GRANULES(n) ((n) * sizeof(void *) / GC_GRANULE_BYTES)
#ifndef GC_TINY_FREELISTS
#define GC_TINY_FREELISTS 25
#endif
#define GC_RAW_BYTES_FROM_INDEX(i) ((i) * GC_GRANULE_BYTES)
#endif
