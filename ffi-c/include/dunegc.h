/* dunegc.h: C interface of the dunegc collector. SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Link with -ldunegc (pkg-config libdunegc). Functions that return int give 0, or -1 with errno set. */
#ifndef DUNEGC_H
#define DUNEGC_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

/* Collected memory: zeroed, 16-byte aligned, freed by the collector. NULL and ENOMEM when out of memory. */
void *dunegc_alloc(size_t size);
/* As dunegc_alloc, for data that holds no pointers: never scanned. */
void *dunegc_alloc_atomic(size_t size);
/* Never collected, scanned as a root; release with dunegc_free. */
void *dunegc_alloc_uncollectable(size_t size);
/* Keeps the kind; p may come from malloc too. dunegc_realloc(NULL, n) is dunegc_alloc(n), dunegc_realloc(p, 0) frees. */
void *dunegc_realloc(void *p, size_t size);
/* Frees at once. Optional for collected memory. */
void dunegc_free(void *p);
/* Start of the object that p points into, or NULL. */
void *dunegc_base(const void *p);
/* Usable size in bytes of the object that p points into, or 0. */
size_t dunegc_size(const void *p);
/* A full collection, finished on return. EAGAIN: a thread could not be stopped; EBUSY: called from inside a collection, or
   collections are disabled; ENOENT: /proc is not mounted; ENOTSUP: the stop signal is taken; ENOMEM. */
int dunegc_collect(void);
/* Memory outside the heap that holds pointers into it. Data segments and stacks are known. */
void dunegc_add_roots(const void *lo, const void *hi);
void dunegc_remove_roots(const void *lo, const void *hi);
/* The block that holds p is never reclaimed while pinned; pins count. EINVAL: no such block, or not pinned. */
int dunegc_pin(const void *p);
int dunegc_unpin(const void *p);
/* Called once, some time after the object became unreachable, on a thread of the library. f == NULL removes it. */
typedef void (*dunegc_finalizer)(void *object, void *data);
int dunegc_set_finalizer(void *object, dunegc_finalizer f, void *data);

struct dunegc_stats {
    uint64_t size;              /* set by the caller: sizeof(struct dunegc_stats) */
    uint64_t collections;
    uint64_t allocated_bytes;   /* since start, collected and malloc'ed */
    uint64_t live_bytes;        /* reachable after the last collection */
    uint64_t heap_bytes;        /* blocks in use */
    uint64_t pause_max_ns, pause_p99_ns, pause_p50_ns, pause_total_ns;
    uint64_t mark_ns, sweep_ns;
};
int dunegc_get_stats(struct dunegc_stats *out);
/* "major.minor.patch" */
const char *dunegc_version(void);

#ifdef __cplusplus
}
#endif
#endif
