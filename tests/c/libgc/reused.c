/* Described objects in memory that held something else before: what a collection beside the program finds in a slot that is not handed
 * out yet must not be taken for a descriptor, nor for the way to one. */
#include "oracle.h"
#include <gc/gc_gcj.h>
#include <gc/gc_typed.h>
#include <pthread.h>

enum { THREADS = 2, ROUNDS = 60, OBJECTS = 4000, KEPT = 64, SIZE = 40 };
struct object {
    void *table;
    struct object *next;
};
static struct {
    void *unused;
    size_t descriptor;
} table;
static GC_descr descriptor;

static struct object *make(int typed)
{
    if (typed)
        return GC_MALLOC_EXPLICITLY_TYPED(SIZE, descriptor);
    return GC_GCJ_MALLOC(SIZE, &table);
}

static void *run(void *result)
{
    struct object *kept[2 * KEPT] = { NULL };
    long *sum = result;
    for (int i = 0; i < ROUNDS; i++) {
        for (int j = 0; j < OBJECTS; j++)
            memset(GC_MALLOC_ATOMIC(SIZE), 0xff, SIZE);
        for (int j = 0; j < OBJECTS; j++) {
            struct object *o = make(j & 1);
            o->next = make(j & 1);
            kept[j % (2 * KEPT)] = o;
        }
        for (int j = 0; j < 2 * KEPT; j++)
            *sum += kept[j]->next != NULL && kept[j]->next->next == NULL;
    }
    return NULL;
}

int main(void)
{
    GC_INIT();
    GC_init_gcj_malloc(0, NULL);
    GC_word bitmap[1] = { 1 << (offsetof(struct object, next) / sizeof(GC_word)) };
    descriptor = GC_make_descriptor(bitmap, 5);
    table.descriptor = descriptor;
    long sums[THREADS] = { 0 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        GC_pthread_create(&threads[i], NULL, run, &sums[i]);
    for (int i = 0; i < THREADS; i++)
        GC_pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        say("objects that are whole: %ld", sums[i]);
    return 0;
}
