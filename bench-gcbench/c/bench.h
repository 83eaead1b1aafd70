/* bench.h: clock, random numbers, pauses, options and the result line. SPDX: MIT OR Apache-2.0 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H
#include "alloc.h"
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t bench_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64*: the same sequence in every variant. */
static inline uint64_t bench_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

static inline uint64_t bench_mix(uint64_t sum, uint64_t value) {
    return (sum ^ value) * UINT64_C(0x100000001B3) + 0x9E37;
}

/* Work that counts is between start and stop; checks of the result are outside. */
static uint64_t bench_work_ns, bench_started_ns;
static inline void bench_start(void) {
#ifdef PROBES
    probe_start_clock(bench_thread_create);
#endif
    bench_started_ns = bench_now_ns();
}
static inline void bench_stop(void) {
    bench_work_ns += bench_now_ns() - bench_started_ns;
#ifdef PROBES
    probe_stop_clock(bench_thread_join);
#endif
}

/* The value of `--name VALUE` in argv, or `otherwise`. */
static inline long bench_option(int argc, char **argv, const char *name, long otherwise) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) {
            char *end;
            long v = strtol(argv[i + 1], &end, 10);
            if (*end || end == argv[i + 1] || v < 0) {
                fprintf(stderr, "%s: expected a number of at least 0, got '%s'\n", name, argv[i + 1]);
                exit(2);
            }
            return v;
        }
    return otherwise;
}

/* The text after `--name` in argv; NULL without it. */
static inline const char *bench_text_option(int argc, char **argv, const char *name) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) return argv[i + 1];
    return NULL;
}

/* Options that every program takes. */
static inline void bench_common_options(int argc, char **argv) {
#ifdef PROBES
    probe_log_path = bench_text_option(argc, argv, "--probe-log");
    probe_with_clock = bench_option(argc, argv, "--clock", 0) != 0;
    if (probe_log_path) probe_calibrate();
#else
    if (bench_text_option(argc, argv, "--probe-log") || bench_option(argc, argv, "--clock", 0)) {
        fprintf(stderr, "%s: built without -DPROBES\n", argv[0]);
        exit(2);
    }
#endif
}

#if defined(COLLECTED) || defined(GC_FREEING)
/* Values of GC_EventType in gc.h: the world is about to stop, and runs again. */
enum { BENCH_PRE_STOP_WORLD = 6, BENCH_POST_START_WORLD = 9 };
static uint64_t bench_pause_began_ns, bench_pause_max_ns;
static void bench_on_event(int event) {
    if (event == BENCH_PRE_STOP_WORLD) {
        bench_pause_began_ns = bench_now_ns();
    } else if (event == BENCH_POST_START_WORLD && bench_pause_began_ns) {
        uint64_t pause = bench_now_ns() - bench_pause_began_ns;
        if (pause > bench_pause_max_ns) bench_pause_max_ns = pause;
        bench_pause_began_ns = 0;
    }
}
static inline void bench_init(int argc, char **argv) {
    bench_common_options(argc, argv);
    bench_alloc_init();
    if (GC_set_on_collection_event) GC_set_on_collection_event(bench_on_event);
}
#else
static inline void bench_init(int argc, char **argv) { bench_common_options(argc, argv); }
#endif

/* Peak resident set of this program in KiB. VmHWM starts anew at exec; ru_maxrss does not: it also counts the
 * runner, from which this process was forked. */
static inline long bench_rss_peak_kib(void) {
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY);
    if (fd < 0) return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *at = strstr(text, "VmHWM:");
    return at ? strtol(at + 6, NULL, 10) : -1;
}

/* One JSON line on stdout. Pauses and collections are null where no collector reports them. */
static inline void bench_report(const char *program, uint64_t checksum) {
#ifdef PROBES
    probe_write_log();
#endif
    printf("{\"program\":\"%s\",\"checksum\":\"%016llx\",\"elapsed_ms\":%.3f,\"rss_peak_kib\":%ld,", program,
           (unsigned long long)checksum, bench_work_ns / 1e6, bench_rss_peak_kib());
#if defined(COLLECTED) || defined(GC_FREEING)
    if (GC_set_on_collection_event) printf("\"pause_max_ms\":%.3f,", bench_pause_max_ns / 1e6);
    else printf("\"pause_max_ms\":null,");
    if (GC_get_heap_size) printf("\"heap_bytes\":%zu,", GC_get_heap_size());
    if (GC_get_total_bytes) printf("\"allocated_bytes\":%zu,", GC_get_total_bytes());
    if (GC_get_gc_no) printf("\"collections\":%zu}\n", GC_get_gc_no());
    else printf("\"collections\":null}\n");
#else
    printf("\"pause_max_ms\":null,\"collections\":null}\n");
#endif
    fflush(stdout);
}
#endif
