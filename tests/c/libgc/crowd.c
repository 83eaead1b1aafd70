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

int main(void)
{
    GC_INIT();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        GC_pthread_create(&threads[i], NULL, run, kept[i]);
    for (int i = 0; i < THREADS; i++)
        GC_pthread_join(threads[i], NULL);
    say("heap: %s", GC_get_heap_size() <= 4 << 20 ? "small" : "large");
    return 0;
}
