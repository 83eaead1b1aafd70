/* Getters and setters: defaults, what is read back, and the variables behind them. */
#include "oracle.h"
#include <gc/gc_mark.h>
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define SETTING(name, value) \
    do { \
        long before = (long)GC_get_##name(); \
        GC_set_##name(value); \
        say("%s: %ld, then %ld", #name, before, (long)GC_get_##name()); \
        GC_set_##name(before); \
    } while (0)
#define PROCEDURE(name, set_to) \
    do { \
        int before = GC_get_##name() != NULL; \
        GC_set_##name(set_to); \
        say("%s: %d, %d", #name, before, GC_get_##name() == set_to); \
    } while (0)
#define VARIABLE(name, value) \
    do { \
        long before = (long)GC_##name; \
        GC_##name = value; \
        say("variable %s: %ld, getter %d", #name, before, (long)GC_get_##name() == (long)(value)); \
        GC_##name = before; \
    } while (0)

static void *GC_CALLBACK oom(size_t size) { return size ? NULL : NULL; }
static void GC_CALLBACK resized(GC_word size) { (void)size; }
static void GC_CALLBACK event(GC_EventType type) { (void)type; }
static void GC_CALLBACK thread_event(GC_EventType type, void *thread) { (void)type, (void)thread; }
static void GC_CALLBACK nothing(void) {}
static void GC_CALLBACK await(void *object) { (void)object; }
static void GC_CALLBACK warn(char *message, GC_word argument) { (void)message, (void)argument; }
static void GC_CALLBACK ended(const char *message) { (void)message; }
static int GC_CALLBACK never(void) { return 0; }
static GC_ToggleRefStatus GC_CALLBACK drop(void *object)
{
    (void)object;
    return GC_TOGGLE_REF_DROP;
}

static void all(const char *when)
{
    say("%s", when);
    SETTING(all_interior_pointers, GC_get_all_interior_pointers());
    SETTING(finalize_on_demand, 1);
    SETTING(java_finalization, 0);
    SETTING(dont_expand, 1);
    SETTING(dont_precollect, 1);
    SETTING(full_freq, 7);
    SETTING(non_gc_bytes, 12345);
    SETTING(no_dls, 1);
    SETTING(free_space_divisor, 5);
    SETTING(max_retries, 3);
    SETTING(time_limit, 20);
    SETTING(allocd_bytes_per_finalizer, 77);
    SETTING(min_bytes_allocd, 4096);
    SETTING(rate, 20);
    SETTING(max_prior_attempts, 4);
    SETTING(disable_automatic_collection, 1);
    SETTING(force_unmap_on_gcollect, 1);
    SETTING(manual_vdb_allowed, 1);
    SETTING(find_leak, 0);
    SETTING(pages_executable, 0);
    PROCEDURE(oom_fn, oom);
    PROCEDURE(on_heap_resize, resized);
    PROCEDURE(on_collection_event, event);
    PROCEDURE(on_thread_event, thread_event);
    PROCEDURE(finalizer_notifier, nothing);
    PROCEDURE(await_finalize_proc, await);
    PROCEDURE(warn_proc, warn);
    PROCEDURE(abort_func, ended);
    PROCEDURE(stop_func, never);
    PROCEDURE(start_callback, nothing);
    PROCEDURE(toggleref_func, drop);
    struct GC_timeval_s limit = GC_get_time_limit_tv();
    say("time limit: %lu ms %lu ns", limit.tv_ms, limit.tv_nsec);
    limit.tv_ms = 9;
    limit.tv_nsec = 500000;
    GC_set_time_limit_tv(limit);
    limit = GC_get_time_limit_tv();
    say("time limit: %lu ms %lu ns, %lu", limit.tv_ms, limit.tv_nsec, GC_get_time_limit());
}

int main(void)
{
    say("version: %x", GC_get_version());
    say("headers: %d.%d.%d", GC_VERSION_MAJOR, GC_VERSION_MINOR, GC_VERSION_MICRO);
    GC_set_markers_count(1);
    GC_set_suspend_signal(42);
    GC_set_thr_restart_signal(43);
    say("signals before: %d %d", GC_get_suspend_signal(), GC_get_thr_restart_signal());
    GC_set_on_heap_resize(resized);
    GC_INIT();
    say("signals: %d %d", GC_get_suspend_signal(), GC_get_thr_restart_signal());
    all("after init");
    VARIABLE(all_interior_pointers, 1);
    VARIABLE(finalize_on_demand, 1);
    VARIABLE(java_finalization, 0);
    VARIABLE(dont_expand, 1);
    VARIABLE(dont_precollect, 1);
    VARIABLE(full_freq, 5);
    VARIABLE(non_gc_bytes, 99);
    VARIABLE(no_dls, 1);
    VARIABLE(free_space_divisor, 6);
    VARIABLE(max_retries, 2);
    VARIABLE(time_limit, 33);
    say("variables: %d %d %d", GC_use_entire_heap, GC_find_leak, GC_parallel);
    say("disabled: %d", GC_is_disabled());
    GC_disable();
    GC_disable();
    say("twice: %d %d", GC_is_disabled() != 0, GC_dont_gc);
    GC_enable();
    say("once enabled: %d", GC_is_disabled() != 0);
    GC_enable();
    say("enabled: %d", GC_is_disabled());
    GC_dont_gc = 1;
    say("variable: %d", GC_is_disabled() != 0);
    GC_word before = GC_get_gc_no();
    GC_gcollect();
    say("no collection: %d", GC_get_gc_no() == before);
    say("try: %d", GC_try_to_collect(never));
    GC_dont_gc = 0;
    GC_gcollect();
    say("collection: %d, variable: %d", GC_get_gc_no() > before, GC_gc_no == GC_get_gc_no());
    say("header size: %d", GC_get_debug_header_size() == GC_debug_header_size && GC_get_debug_header_size() % 16 == 0);
    char *object = GC_MALLOC(10);
    say("bounds: %d %d", object >= (char *)GC_least_plausible_heap_addr, object < (char *)GC_greatest_plausible_heap_addr);
    for (int size = 0; size <= 200; size += 40)
        say("size map %d: %d", size, GC_get_size_map_at(size) >= (size_t)size && GC_get_size_map_at(size) < (size_t)size + 64);
    say("out of bounds: %d %d", GC_get_size_map_at(-1) == (size_t)-1, GC_get_size_map_at(1 << 20) == (size_t)-1);
    return 0;
}
