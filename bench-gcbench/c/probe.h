/* probe.h: what the collector costs, seen from outside. SPDX: MIT OR Apache-2.0
 *
 * With -DPROBES the programs take two more options:
 *   --probe-log PATH   write what the probes saw to PATH, as JSON
 *   --clock 1          a thread that reads CLOCK_MONOTONIC in a loop and records gaps, instead of stamps by the mutators
 *
 * A mutator stamps its progress: before and after each allocation, after each free, and in each loop that works for
 * longer than some microseconds without either. Two stamps that lie further apart than PROBE_GAP_NS are a gap: time in
 * which the program did not get on, whatever the cause. Of each gap is known how long the thread waited for a CPU that
 * others used, from /proc/thread-self/schedstat. The time in allocation calls goes to a histogram.
 *
 * Without -DPROBES all of this is nothing.
 */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#ifdef PROBES
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    PROBE_GAP_NS = 20000,
    PROBE_GAPS = 1 << 20,
    /* Buckets of a histogram: each power of two in 32 equal parts. */
    PROBE_PARTS = 32,
    PROBE_BUCKETS = 60 * PROBE_PARTS,
};

/* Times of one probe are ticks; the log has nanoseconds. */
struct probe_gap {
    uint64_t began, length, waited_ns;
};

struct probe {
    struct probe *next;
    uint64_t began, ended, last, gap_ticks;
    uint64_t waited_ns;
    int schedstat, is_clock;
    uint64_t gaps, gaps_lost;
    uint64_t longest;
    uint64_t counts[PROBE_BUCKETS];
    struct probe_gap gap[PROBE_GAPS];
};

static struct probe *probe_all;
static pthread_mutex_t probe_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread struct probe *probe_me;
static const char *probe_log_path;
static int probe_with_clock, probe_clock_runs, probe_clock_stop;
static double probe_ticks_per_ns = 1.0;

static inline uint64_t probe_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#ifdef __x86_64__
static inline uint64_t probe_ticks(void) { return __builtin_ia32_rdtsc(); }
/* Ticks of the time stamp counter in a nanosecond, from 20 ms of both clocks. */
static inline void probe_calibrate(void) {
    uint64_t ns = probe_clock_ns(), ticks = probe_ticks(), now;
    while ((now = probe_clock_ns()) - ns < 20000000) continue;
    probe_ticks_per_ns = (double)(probe_ticks() - ticks) / (double)(now - ns);
}
#else
static inline uint64_t probe_ticks(void) { return probe_clock_ns(); }
static inline void probe_calibrate(void) {}
#endif

static inline unsigned probe_bucket(uint64_t v) {
    if (v < PROBE_PARTS) return (unsigned)v;
    unsigned shift = 58 - (unsigned)__builtin_clzll(v);
    unsigned bucket = (shift + 1) * PROBE_PARTS + (unsigned)(v >> shift) - PROBE_PARTS;
    return bucket < PROBE_BUCKETS ? bucket : PROBE_BUCKETS - 1;
}
/* The largest value in a bucket. */
static inline uint64_t probe_bucket_top(unsigned bucket) {
    if (bucket < PROBE_PARTS) return bucket;
    unsigned shift = bucket / PROBE_PARTS - 1;
    return ((uint64_t)(bucket % PROBE_PARTS + PROBE_PARTS + 1) << shift) - 1;
}

/* Nanoseconds that this thread has waited for a CPU: the second figure of schedstat. 0 where it cannot be read. */
static inline uint64_t probe_waited_ns(const struct probe *me) {
    char text[96];
    ssize_t n = me->schedstat < 0 ? -1 : pread(me->schedstat, text, sizeof text - 1, 0);
    if (n <= 0) return 0;
    text[n] = 0;
    const char *space = strchr(text, ' ');
    return space ? strtoull(space + 1, NULL, 10) : 0;
}

static void __attribute__((noinline)) probe_note_gap(struct probe *me, uint64_t from, uint64_t to) {
    uint64_t waited = probe_waited_ns(me);
    if (me->gaps < PROBE_GAPS)
        me->gap[me->gaps++] = (struct probe_gap){from, to - from, waited - me->waited_ns};
    else
        me->gaps_lost++;
    me->waited_ns = waited;
}

/* The tick of now; the time since the last stamp is a gap if it is long. */
static inline uint64_t probe_stamp(struct probe *me) {
    uint64_t now = probe_ticks(), last = me->last;
    if (__builtin_expect(now > last && now - last > me->gap_ticks, 0)) {
        probe_note_gap(me, last, now);
        me->last = probe_ticks();
        return me->last;
    }
    me->last = now;
    return now;
}

static inline void probe_record(struct probe *me, uint64_t ticks) {
    me->counts[probe_bucket(ticks)]++;
    if (ticks > me->longest) me->longest = ticks;
}

/* After an allocation that began at `began`: one stamp, and its time goes to the histogram. */
static inline void probe_allocated(struct probe *me, uint64_t began) {
    uint64_t now = probe_ticks();
    probe_record(me, now > began ? now - began : 0);
    if (__builtin_expect(now > began && now - began > me->gap_ticks, 0)) {
        probe_note_gap(me, began, now);
        now = probe_ticks();
    }
    me->last = now;
}

#define PROBE_TIMED(call)                                        \
    ({                                                           \
        struct probe *probe_m = probe_me;                        \
        uint64_t probe_t = probe_m ? probe_stamp(probe_m) : 0;   \
        void *probe_p = (call);                                  \
        if (probe_m) probe_allocated(probe_m, probe_t);          \
        probe_p;                                                 \
    })
#define PROBE_TICK()                            \
    do {                                        \
        if (probe_me) probe_stamp(probe_me);    \
    } while (0)

/* A probe for this thread. Its memory is no business of the allocator under test. */
static inline struct probe *probe_new(int is_clock) {
    struct probe *me = mmap(NULL, sizeof *me, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (me == MAP_FAILED) {
        perror("mmap of a probe");
        exit(2);
    }
    me->is_clock = is_clock;
    me->gap_ticks = (uint64_t)(PROBE_GAP_NS * (is_clock ? 1.0 : probe_ticks_per_ns));
    me->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    me->waited_ns = probe_waited_ns(me);
    pthread_mutex_lock(&probe_lock);
    me->next = probe_all;
    probe_all = me;
    pthread_mutex_unlock(&probe_lock);
    return me;
}

/* The calling thread starts and ends to be a mutator that is watched. */
static inline void probe_begin(void) {
    if (!probe_log_path || probe_with_clock) return;
    struct probe *me = probe_new(0);
    me->began = me->last = probe_ticks();
    probe_me = me;
}
static inline void probe_end(void) {
    struct probe *me = probe_me;
    if (!me) return;
    me->ended = probe_stamp(me);
    probe_me = NULL;
    if (me->schedstat >= 0) close(me->schedstat);
    me->schedstat = -1;
}

static void *probe_clock(void *unused) {
    (void)unused;
    struct probe *me = probe_new(1);
    __atomic_store_n(&probe_clock_runs, 1, __ATOMIC_RELEASE);
    uint64_t last = me->began = probe_clock_ns();
    while (!__atomic_load_n(&probe_clock_stop, __ATOMIC_RELAXED)) {
        uint64_t now = probe_clock_ns();
        probe_record(me, now - last);
        if (now - last > me->gap_ticks) {
            probe_note_gap(me, last, now);
            now = probe_clock_ns();
        }
        last = now;
    }
    me->ended = last;
    return NULL;
}

static pthread_t probe_clock_thread;
/* The clock's thread is made as every other thread, so that the collector knows it. It has run when this returns. */
static inline void probe_start_clock(int (*create)(pthread_t *, void *(*)(void *), void *)) {
    static int started;
    if (!probe_log_path || !probe_with_clock || started++) return;
    if (create(&probe_clock_thread, probe_clock, NULL)) {
        perror("pthread_create");
        exit(2);
    }
    while (!__atomic_load_n(&probe_clock_runs, __ATOMIC_ACQUIRE)) usleep(100);
}
static inline void probe_stop_clock(int (*join)(pthread_t)) {
    if (!probe_clock_runs || probe_clock_stop) return;
    __atomic_store_n(&probe_clock_stop, 1, __ATOMIC_RELAXED);
    join(probe_clock_thread);
}

static inline void probe_write_one(FILE *out, const struct probe *p) {
    double ns = p->is_clock ? 1.0 : 1.0 / probe_ticks_per_ns;
    fprintf(out, "{\"elapsed_ns\":%.0f,\"longest_ns\":%.0f,\"gaps_lost\":%llu,\"histogram\":[",
            (double)(p->ended - p->began) * ns, (double)p->longest * ns, (unsigned long long)p->gaps_lost);
    const char *comma = "";
    for (unsigned b = 0; b < PROBE_BUCKETS; b++)
        if (p->counts[b]) {
            fprintf(out, "%s[%.0f,%llu]", comma, (double)probe_bucket_top(b) * ns, (unsigned long long)p->counts[b]);
            comma = ",";
        }
    fprintf(out, "],\"gaps\":[");
    for (uint64_t k = 0; k < p->gaps; k++)
        fprintf(out, "%s[%.0f,%.0f,%llu]", k ? "," : "", (double)(p->gap[k].began - p->began) * ns,
                (double)p->gap[k].length * ns, (unsigned long long)p->gap[k].waited_ns);
    fprintf(out, "]}");
}

/* {"mutators":[…],"clock":…}: a probe each. */
static inline void probe_write_log(void) {
    if (!probe_log_path) return;
    FILE *out = fopen(probe_log_path, "w");
    if (!out) {
        perror(probe_log_path);
        exit(2);
    }
    const char *comma = "";
    fprintf(out, "{\"mutators\":[");
    for (const struct probe *p = probe_all; p; p = p->next)
        if (!p->is_clock) {
            fprintf(out, "%s", comma);
            probe_write_one(out, p);
            comma = ",\n";
        }
    fprintf(out, "],\n\"clock\":");
    const struct probe *clock = probe_all;
    while (clock && !clock->is_clock) clock = clock->next;
    if (clock) probe_write_one(out, clock);
    else fprintf(out, "null");
    fprintf(out, "}\n");
    if (fclose(out)) {
        perror(probe_log_path);
        exit(2);
    }
}

#else
#define PROBE_TIMED(call) (call)
#define PROBE_TICK() ((void)0)
static inline void probe_begin(void) {}
static inline void probe_end(void) {}
#endif
#endif
