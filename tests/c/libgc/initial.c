/* Settings that are compiled in and applied by GC_INIT. Without GC_THREADS the lock is nothing. */
#define GC_INITIAL_HEAP_SIZE (32 << 20)
#define GC_MAXIMUM_HEAP_SIZE (256 << 20)
#define GC_FREE_SPACE_DIVISOR 4
#define GC_FULL_FREQ 11
#define GC_TIME_LIMIT 17
#define GC_MAX_RETRIES 2
#define GC_ALLOCD_BYTES_PER_FINALIZER 55
#define GC_FORCE_UNMAP_ON_GCOLLECT
#define GC_IGNORE_WARN
#include <gc/gc.h>
#include <stdio.h>

int main(void)
{
    GC_INIT();
    printf("%d %lu %d %lu %lu %lu %d\n", GC_get_heap_size() >= 32 << 20, GC_get_free_space_divisor(), GC_get_full_freq(),
           GC_get_time_limit(), GC_get_max_retries(), GC_get_allocd_bytes_per_finalizer(), GC_get_force_unmap_on_gcollect());
    printf("warnings: %d\n", GC_get_warn_proc() == GC_ignore_warn_proc);
    GC_alloc_lock();
    GC_alloc_unlock();
    long *p = GC_NEW(long), *q = GC_NEW_ATOMIC(long), *r = GC_NEW_UNCOLLECTABLE(long);
    printf("%ld %d %ld\n", *p, q != NULL, *r);
    void *large = GC_MALLOC_ATOMIC(300 << 20);
    printf("above the maximum: %d\n", large != NULL);
    GC_FREE(r);
    return 0;
}
