/* Figures: what must hold between them. */
#include "oracle.h"
#include <gc/gc_inline.h>

static char *kept[1000];

int main(void)
{
    GC_set_log_fd(2);
    GC_INIT();
    GC_start_performance_measurement();
    GC_word total = GC_get_total_bytes(), number = GC_get_gc_no();
    for (int i = 0; i < 1000; i++)
        kept[i] = GC_MALLOC(1000);
    say("total: %d", GC_get_total_bytes() - total >= 1000000 && GC_get_total_bytes() - total < 3000000);
    say("since: %d", GC_get_bytes_since_gc() > 0);
    GC_gcollect();
    say("number: %d", GC_get_gc_no() > number);
    say("since: %d", GC_get_bytes_since_gc() < 1000);
    say("heap: %d, free: %d, use: %d", GC_get_heap_size() >= 1000000, GC_get_free_bytes() < GC_get_heap_size(),
        GC_get_memory_use() >= 1000000);
    say("from the system: %d", GC_get_obtained_from_os_bytes() >= GC_get_heap_size());
    GC_word heap, free_bytes, unmapped, since, all;
    GC_get_heap_usage_safe(&heap, &free_bytes, &unmapped, &since, &all);
    say("at once: %d %d %d", heap >= 1000000, free_bytes < heap, all >= total);
    GC_get_heap_usage_safe(NULL, NULL, NULL, NULL, NULL);
    struct GC_prof_stats_s stats, part;
    size_t size = GC_get_prof_stats(&stats, sizeof stats);
    say("stats: %d, number %d, heap %d, before %d", size == sizeof stats, stats.gc_no == GC_get_gc_no(),
        stats.heapsize_full >= 1000000, stats.allocd_bytes_before_gc > 0);
    memset(&part, 0x11, sizeof part);
    size = GC_get_prof_stats(&part, 16);
    say("part: %d, rest untouched: %d", size == 16, part.gc_no == 0x1111111111111111);
    struct {
        struct GC_prof_stats_s known;
        GC_word more[2];
    } large;
    size = GC_get_prof_stats((struct GC_prof_stats_s *)&large, sizeof large);
    say("more: %d, unknown: %d", size == sizeof stats, large.more[1] == (GC_word)-1);
    GC_alloc_lock();
    size = GC_get_prof_stats_unsafe(&stats, sizeof stats);
    GC_alloc_unlock();
    say("unsafe: %d", size == sizeof stats);
    GC_word before = GC_get_non_gc_bytes();
    static char *fixed[100];
    for (int i = 0; i < 100; i++)
        fixed[i] = GC_MALLOC_UNCOLLECTABLE(100);
    say("not collected: %d", GC_get_non_gc_bytes() - before >= 10000);
    for (int i = 0; i < 100; i++)
        GC_FREE(fixed[i]);
    say("freed: %d", (long)(GC_get_non_gc_bytes() - before) < 1000);
    /* Large objects are counted as they are freed. */
    size_t freed = GC_get_expl_freed_bytes_since_gc();
    GC_FREE(GC_MALLOC(1 << 20));
    say("freed explicitly: %d", GC_get_expl_freed_bytes_since_gc() - freed >= 1 << 20);
    GC_word size_before = GC_get_heap_size();
    int expanded = GC_expand_hp(8 << 20);
    say("expand: %d, %d", expanded, GC_get_heap_size() >= size_before + (8 << 20));
    memset(kept, 0, sizeof kept);
    for (int i = 0; i < 5; i++)
        GC_gcollect();
    say("use: %d", GC_get_memory_use() < 1000000);
    GC_gcollect_and_unmap();
    say("unmapped: %d", GC_get_unmapped_bytes() <= GC_get_obtained_from_os_bytes());
    say("time: %d", GC_get_full_gc_total_time() < 60000);
    /* Reports, in a form of the collector's own. */
    int output = dup(1);
    if (output < 0 || !freopen("/dev/null", "w", stdout))
        return 1;
    GC_dump();
    GC_dump_named("a name");
    GC_dump_regions();
    GC_dump_finalization();
    GC_print_free_list(1, 2);
    fflush(stdout);
    dup2(output, 1);
    say("dumped");
    return 0;
}
