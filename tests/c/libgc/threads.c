/* Threads: redirected and registered by hand, twice, and not at all; what their stacks hold; exit, detach and cancel. */
#include "oracle.h"
#include <pthread.h>
#include <signal.h>
#undef pthread_create
#undef pthread_join

enum { OBJECTS = 50, THREADS = 6 };
static pthread_barrier_t barrier;
static struct watch watches[THREADS];
static volatile int errors;

NOINLINE static void fill(void *volatile *where, struct watch *watch)
{
    watch_start(watch);
    for (int i = 0; i < OBJECTS; i++) {
        long *object = GC_MALLOC(64);
        object[0] = i;
        watch_add(watch, object);
        where[i] = object;
    }
}

/* Holds objects on its stack while the main thread collects. */
static void *holder(void *data)
{
    void *volatile objects[OBJECTS];
    long number = (long)data;
    fill(objects, &watches[number]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < OBJECTS; i++)
        errors += ((long *)objects[i])[0] != i;
    return objects[0];
}

static void *by_hand(void *data)
{
    struct GC_stack_base base;
    say("registered before: %d", GC_thread_is_registered());
    GC_get_stack_base(&base);
    say("register: %d", GC_register_my_thread(&base));
    say("again: %d", GC_register_my_thread(&base));
    say("is registered: %d", GC_thread_is_registered() != 0);
    struct GC_stack_base mine;
    void *handle = GC_get_my_stackbottom(&mine);
    say("handle: %d, base: %d", handle != NULL, mine.mem_base == base.mem_base);
    void *result = holder(data);
    say("unregister: %d", GC_unregister_my_thread());
    say("is registered: %d", GC_thread_is_registered());
    return result;
}

static void *leave(void *data)
{
    GC_pthread_exit(data);
    return NULL;
}

static void *wait_for_ever(void *data)
{
    (void)data;
    for (;;)
        pause();
    return NULL;
}

static void *churn(void *data)
{
    long sum = 0;
    void **list = NULL;
    for (long i = 0; i < 20000; i++) {
        void **cell = GC_MALLOC(16 + (size_t)(i * 7 % 300));
        if (i % 100 == 0)
            list = NULL;
        cell[0] = list;
        cell[1] = (void *)i;
        list = cell;
        if (i % 100 == 99)
            for (void **p = list; p; p = p[0])
                sum += (long)p[1];
    }
    return (void *)(sum + (long)data);
}

int main(void)
{
    GC_INIT();
    GC_allow_register_threads();
    struct GC_stack_base base;
    GC_get_stack_base(&base);
    say("main: registered %d, again %d", GC_thread_is_registered() != 0, GC_register_my_thread(&base));
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        if (i == 0)
            pthread_create(&threads[i], NULL, by_hand, (void *)i);
        else
            GC_pthread_create(&threads[i], NULL, holder, (void *)i);
    pthread_barrier_wait(&barrier);
    collect();
    for (int i = 0; i < THREADS; i++)
        say("thread %d: %s", i, watch_amount(&watches[i]));
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        int joined = i == 0 ? pthread_join(threads[i], &result) : GC_pthread_join(threads[i], &result);
        if (joined || !result)
            say("join: %d", joined);
    }
    settle();
    for (int i = 0; i < THREADS; i++)
        say("thread %d ended: %s", i, watch_amount(&watches[i]));
    say("errors: %d", errors);

    void *result = NULL;
    GC_pthread_create(&threads[0], NULL, leave, (void *)7);
    GC_pthread_join(threads[0], &result);
    say("exit: %d", (int)(long)result);
    GC_pthread_create(&threads[0], NULL, wait_for_ever, NULL);
    say("cancel: %d", GC_pthread_cancel(threads[0]));
    GC_pthread_join(threads[0], &result);
    say("cancelled: %d", result == PTHREAD_CANCELED);
    for (int i = 0; i < 20; i++) {
        GC_pthread_create(&threads[0], NULL, churn, (void *)1);
        if (GC_pthread_detach(threads[0]))
            say("detach");
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    for (int i = 0; i < THREADS; i++)
        GC_pthread_create(&threads[i], &attributes, churn, (void *)(long)i);
    for (int i = 0; i < THREADS; i++) {
        GC_pthread_join(threads[i], &result);
        say("churn: %ld", (long)result);
    }
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    say("sigmask: %d", GC_pthread_sigmask(SIG_BLOCK, &set, &old));
    GC_pthread_sigmask(SIG_SETMASK, NULL, &set);
    say("blocked: %d", sigismember(&set, SIGUSR1));
    return 0;
}
