/* What environment variables set; the test runs this with several. */
#include "oracle.h"
#include <gc/gc_mark.h>

int main(void)
{
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_INIT();
    say("interior %d, dont_gc %d, find_leak %d", GC_get_all_interior_pointers(), GC_is_disabled() != 0, GC_get_find_leak());
    say("divisor %lu, full_freq %d, time_limit %lu", GC_get_free_space_divisor(), GC_get_full_freq(), GC_get_time_limit());
    say("force_unmap %d, java %d", GC_get_force_unmap_on_gcollect(), GC_get_java_finalization());
    say("heap of 30 MB: %d", GC_get_heap_size() >= 30 << 20);
    GC_word before = GC_get_gc_no();
    char *volatile p = NULL;
    /* Beside the program, a collection takes its time. */
    for (int i = 0; i < 100000 || (i < 1500000 && GC_get_gc_no() == before); i++)
        p = GC_MALLOC(200);
    say("collections: %d", GC_get_gc_no() > before);
    int kept = 0;
    static char *volatile blocks[64];
    for (int i = 0; i < 64; i++)
        kept += (blocks[i] = GC_MALLOC_ATOMIC(1 << 20)) != NULL;
    say("64 MB: %s", kept == 64 ? "all" : kept > 0 ? "some" : "none");
    GC_enable_incremental();
    say("incremental: %d", GC_is_incremental_mode() != 0);
    GC_reachable_here(p);
    return 0;
}
