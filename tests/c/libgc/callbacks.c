/* Calls back: start and events of collections, threads, the growing heap, warnings, the end of memory, giving up. */
#define GC_OOM_FUNC_RETURNS_ALIAS
#include "oracle.h"
#include <gc/gc_mark.h>
#include <pthread.h>
#include <setjmp.h>

enum { EVENTS = 64 };
static GC_EventType events[EVENTS];
static int event_count, starts, resizes, growing, warnings, suspended, resumed;
static GC_word last_size;

static void GC_CALLBACK on_event(GC_EventType type)
{
    if (event_count < EVENTS)
        events[event_count++] = type;
}
static void GC_CALLBACK on_start(void) { starts++; }
static void GC_CALLBACK on_resize(GC_word size)
{
    resizes++;
    growing += size > last_size;
    last_size = size;
}
static void GC_CALLBACK on_thread(GC_EventType type, void *thread)
{
    if (thread == NULL)
        return;
    suspended += type == GC_EVENT_THREAD_SUSPENDED;
    resumed += type == GC_EVENT_THREAD_UNSUSPENDED;
}
static void GC_CALLBACK on_warning(char *message, GC_word argument)
{
    char line[512];
    snprintf(line, sizeof line, message, argument);
    warnings++;
}

static const char *const names[] = {"start", "mark start", "mark end", "reclaim start", "reclaim end", "end", "pre stop",
                                    "post stop", "pre start", "post start", "suspended", "unsuspended"};

static volatile int stop;
static void *spin(void *data)
{
    while (!stop)
        GC_MALLOC(16);
    return data;
}

static int stop_calls;
static int GC_CALLBACK at_once(void)
{
    stop_calls++;
    return 1;
}
static int GC_CALLBACK never(void)
{
    stop_calls++;
    return 0;
}

static int oom_calls;
static char reserve[64];
static void *GC_CALLBACK out_of_memory(size_t size)
{
    oom_calls++;
    return size > 1000 ? reserve : NULL;
}

static void *locked(void *data)
{
    return (char *)data + 1;
}

static void GC_CALLBACK aborting(const char *message)
{
    say("aborting: %d", message == NULL);
}

int main(int argc, char **argv)
{
    GC_set_on_heap_resize(on_resize);
    GC_INIT();
    if (argc > 1 && strcmp(argv[1], "abort") == 0) {
        GC_set_abort_func(aborting);
        GC_abort_on_oom();
        return 0;
    }
    GC_set_start_callback(on_start);
    GC_set_on_collection_event(on_event);
    GC_gcollect();
    say("starts: %d", starts);
    for (int i = 0; i < event_count; i++)
        say("event: %s", names[events[i]]);
    event_count = 0;
    GC_set_on_collection_event(NULL);
    GC_gcollect();
    say("unset: %d events, starts %d", event_count, starts);
    GC_set_start_callback(NULL);

    static char *kept[512];
    for (int i = 0; i < 512; i++)
        kept[i] = GC_MALLOC(100000);
    say("resized: %d %d, size: %d", resizes > 0, growing > 0, last_size >= 40000000);
    memset(kept, 0, sizeof kept);

    pthread_t thread;
    pthread_create(&thread, NULL, spin, NULL);
    GC_set_on_thread_event(on_thread);
    GC_gcollect();
    GC_set_on_thread_event(NULL);
    stop = 1;
    pthread_join(thread, NULL);
    say("thread: %d %d", suspended > 0, resumed == suspended);

    int result = GC_try_to_collect(at_once);
    say("given up: %d, asked: %d", result, stop_calls > 0);
    stop_calls = 0;
    result = GC_try_to_collect(never);
    say("not given up: %d, asked: %d", result, stop_calls > 0);
    GC_set_stop_func(at_once);
    GC_word before = GC_get_gc_no();
    GC_gcollect();
    say("default: %d", GC_get_gc_no() == before);
    GC_set_stop_func(never);

    GC_set_warn_proc(on_warning);
    GC_ignore_warn_proc((char *)"nothing %d", 1);
    say("warnings so far: %d", warnings);
    GC_set_oom_fn(out_of_memory);
    volatile size_t much = (size_t)1 << 60;
    void *got = GC_malloc(much);
    say("out of memory: %d, %d", got == (void *)reserve, oom_calls);
    say("with the lock: %d", GC_call_with_alloc_lock(locked, reserve) == reserve + 1);
    GC_alloc_lock();
    GC_alloc_unlock();
    return 0;
}
