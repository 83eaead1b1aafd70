/* One thread allocates, another frees, after the xmalloc test of Lever and Boreham. SPDX: MIT OR Apache-2.0
 *
 *   --batches N   batches of 1024 objects handed over (12000)
 */
#include "bench.h"

enum { BATCH = 1024, QUEUE = 16, SIZES = 16 };
static const unsigned sizes[SIZES] = {16, 24, 32, 32, 40, 48, 64, 64, 80, 96, 128, 192, 256, 384, 512, 1024};

struct batch {
    struct batch *next;
    unsigned char *objects[BATCH];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER, not_empty = PTHREAD_COND_INITIALIZER;
static struct batch *oldest, **newest = &oldest;
static long queued, batches;
static uint64_t sum;

static void put(struct batch *b) {
    b->next = NULL;
    pthread_mutex_lock(&lock);
    while (queued == QUEUE) pthread_cond_wait(&not_full, &lock);
    *newest = b;
    newest = &b->next;
    queued++;
    pthread_cond_signal(&not_empty);
    pthread_mutex_unlock(&lock);
}

static struct batch *take(void) {
    pthread_mutex_lock(&lock);
    while (!oldest) pthread_cond_wait(&not_empty, &lock);
    struct batch *b = oldest;
    oldest = b->next;
    if (!oldest) newest = &oldest;
    queued--;
    pthread_cond_signal(&not_full);
    pthread_mutex_unlock(&lock);
    return b;
}

static void *consume(void *unused) {
    (void)unused;
    for (long k = 0; k < batches; k++) {
        struct batch *b = take();
        for (int i = 0; i < BATCH; i++) {
            sum += b->objects[i][0];
            FREE(b->objects[i]);
        }
        FREE(b);
    }
    return NULL;
}

int main(int argc, char **argv) {
    batches = bench_option(argc, argv, "--batches", 12000);
    uint64_t random = 88172645463325252u;
    bench_init(argc, argv);
    bench_start();
    pthread_t consumer;
    if (bench_thread_create(&consumer, consume, NULL)) {
        perror("pthread_create");
        return 2;
    }
    for (long k = 0; k < batches; k++) {
        struct batch *b = ALLOC_RAW(sizeof *b);
        for (int i = 0; i < BATCH; i++) {
            uint64_t r = bench_random(&random);
            unsigned size = sizes[r % SIZES];
            unsigned char *p = ALLOC_ATOMIC(size);
            p[0] = (unsigned char)(r >> 56);
            p[size - 1] = 1;
            b->objects[i] = p;
        }
        put(b);
    }
    bench_thread_join(consumer);
    bench_stop();
    bench_report("xmalloc", sum);
    return 0;
}
