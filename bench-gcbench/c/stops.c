/* Preloaded into a program that uses libgc: when the program ends, the file that STOPS_FILE names has one JSON line with its
   collections, its longest stop and its peak resident set. SPDX: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <gc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t stopped_ns, longest_ns, collections;
static char file[4096];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Called by one thread at a time: the one that collects. */
static void event(GC_EventType type) {
    if (type == GC_EVENT_START)
        collections++;
    if (type == GC_EVENT_PRE_STOP_WORLD)
        stopped_ns = now_ns();
    if (type == GC_EVENT_POST_START_WORLD) {
        uint64_t took = now_ns() - stopped_ns;
        if (took > longest_ns)
            longest_ns = took;
    }
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("STOPS_FILE");
    void *libgc = dlopen("libgc.so.1", RTLD_NOW);
    void (*set)(GC_on_collection_event_proc) = NULL;
    if (libgc)
        *(void **)&set = dlsym(libgc, "GC_set_on_collection_event");
    if (!path || strlen(path) >= sizeof file || !set)
        return;
    strcpy(file, path);
    unsetenv("STOPS_FILE"); /* The program's children do not count. */
    set(event);
}

__attribute__((destructor)) static void end(void) {
    char line[256];
    long peak = 0;
    FILE *status = fopen("/proc/self/status", "r"), *out = *file ? fopen(file, "w") : NULL;
    if (!status || !out)
        return;
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            break;
    fprintf(out, "{\"collections\":%lu,\"pause_max_ms\":%.6f,\"rss_peak_kib\":%ld}\n", (unsigned long)collections,
            (double)longest_ns / 1e6, peak);
    fclose(out);
    fclose(status);
}
