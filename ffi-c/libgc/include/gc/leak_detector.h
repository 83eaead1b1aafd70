/* leak_detector.h: malloc and its family replaced by the debugging allocators, to find leaks.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Include it everywhere (gcc -include gc/leak_detector.h) and run with GC_FIND_LEAK=1. */
#ifndef GC_LEAK_DETECTOR_H
#define GC_LEAK_DETECTOR_H
#ifndef GC_DEBUG
#define GC_DEBUG
#endif
#include "gc.h"
#ifndef GC_DONT_INCLUDE_STDLIB
#include <stdlib.h>
#include <string.h>
#endif

#undef malloc
#define malloc(n) GC_MALLOC(n)
#undef calloc
#define calloc(m, n) GC_MALLOC((m) * (n))
#undef realloc
#define realloc(p, n) GC_REALLOC(p, n)
#undef free
#define free(p) GC_FREE(p)
#undef strdup
#define strdup(s) GC_STRDUP(s)
#undef strndup
#define strndup(s, n) GC_STRNDUP(s, n)
#ifdef GC_REQUIRE_WCSDUP
#include <wchar.h>
#undef wcsdup
#define wcsdup(s) GC_WCSDUP(s)
#endif
#undef memalign
#define memalign(a, n) GC_memalign(a, n)
#undef posix_memalign
#define posix_memalign(p, a, n) GC_posix_memalign(p, a, n)

/* Reports what has leaked so far. */
#ifndef CHECK_LEAKS
#define CHECK_LEAKS() GC_gcollect()
#endif
#endif
