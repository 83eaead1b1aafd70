/* alloc.h: one source, three memory disciplines. SPDX: MIT OR Apache-2.0
 *
 *   (nothing)     malloc/free; the allocator under test comes by LD_PRELOAD
 *   -DCOLLECTED   GC_malloc and GC_malloc_atomic, nothing is ever freed
 *   -DGC_FREEING  the same calls, and GC_free wherever the malloc variant calls free
 *
 * The GC_ calls are declared here and not taken from gc.h, so that the same object file links with libgc.so.1
 * or with libdunegc.so. Calls that one of them may lack are weak.
 */
#ifndef BENCH_ALLOC_H
#define BENCH_ALLOC_H
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "probe.h"

static inline void *bench_checked(void *p, size_t size) {
    if (__builtin_expect(p == NULL, 0)) {
        fprintf(stderr, "out of memory: a request of %zu bytes was refused\n", size);
        exit(2);
    }
    return p;
}

#if defined(COLLECTED) || defined(GC_FREEING)
extern void GC_init(void);
extern void *GC_malloc(size_t);
extern void *GC_malloc_atomic(size_t);
extern void *GC_realloc(void *, size_t);
extern void GC_free(void *);
extern void GC_gcollect(void);
extern __attribute__((weak)) void GC_allow_register_threads(void);
extern __attribute__((weak)) int GC_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
extern __attribute__((weak)) int GC_pthread_join(pthread_t, void **);
extern __attribute__((weak)) size_t GC_get_gc_no(void);
extern __attribute__((weak)) size_t GC_get_heap_size(void);
extern __attribute__((weak)) size_t GC_get_total_bytes(void);
/* The event is an enum in gc.h; see bench.h for the values used. */
extern __attribute__((weak)) void GC_set_on_collection_event(void (*)(int));

/* Zeroed, scanned. */
#define ALLOC(n) bench_checked(PROBE_TIMED(GC_malloc(n)), n)
/* Scanned; the caller sets every byte that it reads. */
#define ALLOC_RAW(n) ALLOC(n)
/* Holds no pointers; the caller sets every byte that it reads. */
#define ALLOC_ATOMIC(n) bench_checked(PROBE_TIMED(GC_malloc_atomic(n)), n)
#ifdef GC_FREEING
#define HAS_FREE 1
#define FREE(p) bench_freed(p)
#else
#define HAS_FREE 0
#define FREE(p) ((void)(p))
#endif
static inline void bench_freed(void *p) {
    GC_free(p);
    PROBE_TICK();
}

static inline void bench_alloc_init(void) {
    GC_init();
    if (GC_allow_register_threads) GC_allow_register_threads();
}
static inline int bench_thread_create(pthread_t *t, void *(*f)(void *), void *arg) {
    return GC_pthread_create ? GC_pthread_create(t, NULL, f, arg) : pthread_create(t, NULL, f, arg);
}
static inline int bench_thread_join(pthread_t t) {
    return GC_pthread_join ? GC_pthread_join(t, NULL) : pthread_join(t, NULL);
}

#else
#define ALLOC(n) bench_checked(PROBE_TIMED(calloc(1, n)), n)
#define ALLOC_RAW(n) bench_checked(PROBE_TIMED(malloc(n)), n)
#define ALLOC_ATOMIC(n) bench_checked(PROBE_TIMED(malloc(n)), n)
#define HAS_FREE 1
#define FREE(p) bench_freed(p)
static inline void bench_freed(void *p) {
    free(p);
    PROBE_TICK();
}
static inline void bench_alloc_init(void) {}
static inline int bench_thread_create(pthread_t *t, void *(*f)(void *), void *arg) {
    return pthread_create(t, NULL, f, arg);
}
static inline int bench_thread_join(pthread_t t) { return pthread_join(t, NULL); }
#endif
#endif
