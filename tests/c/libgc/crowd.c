/* Threads that allocate garbage faster than one of them can stop the others: the heap stays small all the same. */
#include "oracle.h"
#include <pthread.h>

enum { THREADS = 6, OBJECTS = 1500000, LIVE = 1000 };
static long *kept[THREADS][LIVE];

static void *run(void *data)
{
    long **own = data;
    for (int i = 0; i < OBJECTS; i++)
        own[i % LIVE] = GC_MALLOC(40);
    return NULL;
}

/* The argument: how many MiB are small. */
int main(int argc, char **argv)
{
    size_t most = (size_t)(argc > 1 ? atoi(argv[1]) : 4) << 20;
    GC_INIT();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        GC_pthread_create(&threads[i], NULL, run, kept[i]);
    for (int i = 0; i < THREADS; i++)
        GC_pthread_join(threads[i], NULL);
    say("heap: %s", GC_get_heap_size() <= most ? "small" : "large");
    return 0;
}
