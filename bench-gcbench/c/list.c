/* Linked lists built, reversed and dropped in random order; a window of them stays alive. SPDX: MIT OR Apache-2.0
 *
 *   --slots N    lists alive at once (640)
 *   --length N   longest list; lengths are uniform in 1..N (10000)
 *   --rounds N   lists built in all (7000)
 *   --mutate P   on average P of 100 000 allocations are followed by a swap of the tails of two random lists (0)
 */
#include "bench.h"

typedef struct cell {
    struct cell *next;
    uint64_t key, value;
} cell;

/* For each slot a list and a cell inside it: what follows that cell is its tail. */
static cell *slots[65536], *fingers[65536];
static uint64_t count, mutate, mutation_random, allocations_left;

static void draw_distance(void) { allocations_left = 1 + bench_random(&mutation_random) % (200000 / mutate); }

static void __attribute__((noinline)) swap_tails(void) {
    cell *a = fingers[bench_random(&mutation_random) % count], *b = fingers[bench_random(&mutation_random) % count];
    if (a && b) {
        cell *tail = a->next;
        a->next = b->next;
        b->next = tail;
    }
    draw_distance();
}

static cell *build(uint64_t length, uint64_t *random, cell **finger) {
    cell *head = NULL;
    for (uint64_t k = 0; k < length; k++) {
        cell *c = ALLOC_RAW(sizeof *c);
        c->next = head;
        c->key = k;
        c->value = bench_random(random);
        head = c;
        if (k == length / 2) *finger = c;
        if (mutate && --allocations_left == 0) swap_tails();
    }
    return head;
}

static uint64_t walk(const cell *c) {
    uint64_t sum = 0;
    for (; c; c = c->next) sum += c->key ^ c->value;
    return sum;
}

static cell *reverse(cell *c) {
    cell *done = NULL;
    while (c) {
        cell *next = c->next;
        c->next = done;
        done = c;
        c = next;
        PROBE_TICK();
    }
    return done;
}

static void destroy(cell *c) {
    while (HAS_FREE && c) {
        cell *next = c->next;
        FREE(c);
        c = next;
    }
}

int main(int argc, char **argv) {
    count = (uint64_t)bench_option(argc, argv, "--slots", 640);
    uint64_t longest = (uint64_t)bench_option(argc, argv, "--length", 10000);
    uint64_t rounds = (uint64_t)bench_option(argc, argv, "--rounds", 7000);
    mutate = (uint64_t)bench_option(argc, argv, "--mutate", 0);
    if (count < 1 || count > 65536 || longest < 1 || mutate > 100000) {
        fprintf(stderr, "list: --slots is 1 to 65536, --length at least 1 and --mutate at most 100000\n");
        return 2;
    }
    uint64_t random = 88172645463325252u, checksum = 0;
    mutation_random = random;
    if (mutate) draw_distance();
    bench_init(argc, argv);
    bench_start();
    probe_begin();
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t slot = round < count ? round : bench_random(&random) % count;
        cell *finger = NULL;
        destroy(slots[slot]);
        slots[slot] = fingers[slot] = NULL;
        slots[slot] = build(1 + bench_random(&random) % longest, &random, &finger);
        if (round % 4 == 0) slots[slot] = reverse(slots[slot]);
        fingers[slot] = finger;
    }
    probe_end();
    bench_stop();
    for (uint64_t slot = 0; slot < count; slot++) checksum = bench_mix(checksum, walk(slots[slot]));
    bench_start();
    for (uint64_t slot = 0; slot < count; slot++) destroy(slots[slot]);
    bench_stop();
    bench_report("list", checksum);
    return 0;
}
