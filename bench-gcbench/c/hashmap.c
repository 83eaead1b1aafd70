/* A chained hash map with string keys: inserts, look-ups, removals, growth. SPDX: MIT OR Apache-2.0
 *
 *   --live N      entries in the full map (1100000)
 *   --churn N     steps of (remove one, insert one, look one up) on the full map (800000)
 *   --rounds N    maps grown from nothing and dropped (2)
 *   --mutate P    after P of 100 000 steps on the full map, on average, the chain of a random bucket is turned round:
 *                 one pointer store for each entry, and one in the table (0)
 */
#include "bench.h"

typedef struct entry {
    struct entry *next;
    char *key;
    uint64_t hash, value;
} entry;

static struct {
    entry **buckets;
    uint64_t mask, used;
} map;

static uint64_t hash_of(const char *s) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *s; s++) h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

/* "k" and the number in base 26, at most 15 characters for numbers below 2^64 / 26. */
static size_t format_key(char *out, uint64_t n) {
    size_t length = 0;
    out[length++] = 'k';
    do out[length++] = (char)('a' + n % 26), n /= 26;
    while (n);
    out[length] = 0;
    return length;
}

static void grow(void) {
    uint64_t old = map.buckets ? map.mask + 1 : 0, buckets = old ? old * 2 : 16;
    entry **fresh = ALLOC(buckets * sizeof *fresh);
    for (uint64_t b = 0; b < old; b++)
        for (entry *e = map.buckets[b], *next; e; e = next) {
            PROBE_TICK();
            next = e->next;
            entry **slot = &fresh[e->hash & (buckets - 1)];
            e->next = *slot;
            *slot = e;
        }
    FREE(map.buckets);
    map.buckets = fresh;
    map.mask = buckets - 1;
}

static entry **find(const char *key, uint64_t hash) {
    entry **slot = &map.buckets[hash & map.mask];
    while (*slot && ((*slot)->hash != hash || strcmp((*slot)->key, key) != 0)) slot = &(*slot)->next;
    return slot;
}

static void insert(uint64_t n) {
    char key[32];
    size_t length = format_key(key, n);
    if (!map.buckets || map.used > map.mask) grow();
    uint64_t hash = hash_of(key);
    entry **slot = find(key, hash);
    if (*slot) {
        (*slot)->value++;
        return;
    }
    entry *e = ALLOC_RAW(sizeof *e);
    e->key = ALLOC_ATOMIC(length + 1);
    memcpy(e->key, key, length + 1);
    e->hash = hash;
    e->value = n;
    e->next = NULL;
    *slot = e;
    map.used++;
}

static uint64_t look_up(uint64_t n) {
    char key[32];
    format_key(key, n);
    entry *e = *find(key, hash_of(key));
    return e ? e->value : 0;
}

static void drop(uint64_t n) {
    char key[32];
    format_key(key, n);
    entry **slot = find(key, hash_of(key)), *e = *slot;
    if (!e) return;
    *slot = e->next;
    FREE(e->key);
    FREE(e);
    map.used--;
}

static void drop_map(void) {
    for (uint64_t b = 0; HAS_FREE && b <= map.mask; b++)
        for (entry *e = map.buckets[b], *next; e; e = next) {
            next = e->next;
            FREE(e->key);
            FREE(e);
        }
    FREE(map.buckets);
    map.buckets = NULL;
    map.used = 0;
}

static void turn_round(uint64_t bucket) {
    entry *done = NULL;
    for (entry *e = map.buckets[bucket & map.mask], *next; e; e = next) {
        next = e->next;
        e->next = done;
        done = e;
    }
    map.buckets[bucket & map.mask] = done;
}

/* The keys of every chain, in their order. */
static uint64_t order(void) {
    uint64_t sum = 0;
    for (uint64_t b = 0; b <= map.mask; b++)
        for (const entry *e = map.buckets[b]; e; e = e->next) sum = bench_mix(sum, e->value);
    return sum;
}

/* Spreads consecutive numbers over keys of 9 to 14 characters. */
static uint64_t spread(uint64_t n) { return n * UINT64_C(0x9E3779B97F4A7C15) >> 12; }

int main(int argc, char **argv) {
    uint64_t live = (uint64_t)bench_option(argc, argv, "--live", 1100000);
    uint64_t churn = (uint64_t)bench_option(argc, argv, "--churn", 800000);
    uint64_t rounds = (uint64_t)bench_option(argc, argv, "--rounds", 2);
    uint64_t mutate = (uint64_t)bench_option(argc, argv, "--mutate", 0);
    if (live < 1 || rounds < 1 || mutate > 100000) {
        fprintf(stderr, "hashmap: --live and --rounds are at least 1 and --mutate at most 100000\n");
        return 2;
    }
    uint64_t random = 88172645463325252u, checksum = 0;
    bench_init(argc, argv);
    uint64_t turns = 88172645463325252u;
    bench_start();
    probe_begin();
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t n = 0; n < live; n++) insert(spread(n));
        for (uint64_t n = 0; n < churn; n++) {
            drop(spread(n));
            insert(spread(n + live));
            checksum += look_up(spread(n + 1 + bench_random(&random) % live));
            if (mutate && bench_random(&turns) % 100000 < mutate) turn_round(bench_random(&turns) >> 20);
        }
        checksum = bench_mix(checksum, map.used);
        if (round + 1 < rounds) drop_map();
    }
    probe_end();
    bench_stop();
    if (mutate) checksum = bench_mix(checksum, order());
    bench_start();
    drop_map();
    bench_stop();
    bench_report("hashmap", checksum);
    return 0;
}
