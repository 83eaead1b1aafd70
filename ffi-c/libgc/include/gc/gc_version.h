/* gc_version.h: the release of the Boehm interface that these headers describe.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the library at run time provides is told by GC_get_version(). */
#ifdef GC_H
#undef GC_VERSION_MAJOR
#undef GC_VERSION_MINOR
#undef GC_VERSION_MICRO
#define GC_VERSION_MAJOR 8
#define GC_VERSION_MINOR 2
#define GC_VERSION_MICRO 2
#define GC_TMP_VERSION_MAJOR GC_VERSION_MAJOR
#define GC_TMP_VERSION_MINOR GC_VERSION_MINOR
#define GC_TMP_VERSION_MICRO GC_VERSION_MICRO
#endif
