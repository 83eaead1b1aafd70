/* GC_do_blocking and GC_call_with_gc_active, nested, while another thread collects. */
#include "oracle.h"
#include <pthread.h>

enum { OBJECTS = 50 };
static struct watch outer, inner;
static pthread_barrier_t barrier;

NOINLINE static void fill(void *volatile *where, struct watch *watch)
{
    watch_start(watch);
    for (int i = 0; i < OBJECTS; i++) {
        void *object = GC_MALLOC(64);
        watch_add(watch, object);
        where[i] = object;
    }
}

static void meet(void) { pthread_barrier_wait(&barrier); }

static void *deepest(void *data)
{
    (void)data;
    meet(); /* collected while blocked again */
    meet();
    return (void *)3;
}

static void *active(void *data)
{
    void *volatile objects[OBJECTS];
    (void)data;
    fill(objects, &inner);
    void *result = GC_do_blocking(deepest, NULL);
    GC_reachable_here(objects);
    for (int i = 0; i < OBJECTS; i++)
        ((long *)objects[i])[0] = i;
    return (char *)result + 10;
}

static void *blocked(void *data)
{
    (void)data;
    meet(); /* collected while blocked */
    meet();
    void *result = GC_call_with_gc_active(active, NULL);
    return (char *)result + 100;
}

static void *thread(void *data)
{
    void *volatile objects[OBJECTS];
    (void)data;
    fill(objects, &outer);
    void *result = GC_do_blocking(blocked, NULL);
    GC_reachable_here(objects);
    for (int i = 0; i < OBJECTS; i++)
        ((long *)objects[i])[0] = i;
    return result;
}

static void *plain(void *data) { return (char *)data + 1; }

static void *with_base(struct GC_stack_base *base, void *data)
{
    char here;
    say("stack base: %d", (char *)base->mem_base >= &here);
    return data;
}

int main(void)
{
    GC_INIT();
    say("blocking: %d", (int)(intptr_t)GC_do_blocking(plain, (void *)41));
    say("active: %d", (int)(intptr_t)GC_call_with_gc_active(plain, (void *)42));
    say("with base: %d", GC_call_with_stack_base(with_base, &outer) == (void *)&outer);
    struct GC_stack_base base = {NULL};
    int result = GC_get_stack_base(&base);
    say("stack base: %d %d", result, (char *)base.mem_base > (char *)&base);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_t other;
    pthread_create(&other, NULL, thread, NULL);
    meet();
    collect();
    say("blocked: %s", watch_amount(&outer));
    meet();
    meet();
    collect();
    say("blocked again: %s, %s", watch_amount(&outer), watch_amount(&inner));
    meet();
    void *value;
    pthread_join(other, &value);
    say("result: %d", (int)(intptr_t)value);
    settle();
    say("ended: %s, %s", watch_amount(&outer), watch_amount(&inner));
    return 0;
}
