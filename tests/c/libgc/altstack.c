/* Signal handlers on a stack of their own: a collection by another thread while one runs. libgc1 does not look at the stack
 * below then, so what that keeps is told only if asked. */
#include "oracle.h"
#include <pthread.h>
#include <signal.h>
#undef pthread_sigmask

enum { OBJECTS = 50, STACK = 256 * 1024 };
static struct watch below, on;
static pthread_barrier_t barrier;
static int strict;

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

static void handler(int signal)
{
    void *volatile objects[OBJECTS];
    (void)signal;
    fill(objects, &on);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    long sum = 0;
    for (int i = 0; i < OBJECTS; i++)
        sum += ((long *)objects[i])[0];
    say("on the alternate stack: %ld", sum);
}

static void *thread(void *data)
{
    void *volatile objects[OBJECTS];
    pthread_attr_t attributes;
    void *stack;
    size_t size;
    (void)data;
    char *alternate = malloc(STACK);
    stack_t other = {.ss_sp = alternate, .ss_size = STACK};
    sigaltstack(&other, NULL);
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &stack, &size);
    GC_register_altstack(stack, size, alternate, STACK);
    fill(objects, &below);
    pthread_kill(pthread_self(), SIGUSR2);
    long sum = 0;
    for (int i = 0; strict && i < OBJECTS; i++)
        sum += ((long *)objects[i])[0];
    say("below: %ld", sum);
    return NULL;
}

int main(int argc, char **argv)
{
    strict = argc > 1 && strcmp(argv[1], "strict") == 0;
    GC_INIT();
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR2, &action, NULL);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_t other;
    pthread_create(&other, NULL, thread, NULL);
    pthread_barrier_wait(&barrier);
    collect();
    say("below: %s, on it: %s", strict ? watch_amount(&below) : "not asked", watch_amount(&on));
    pthread_barrier_wait(&barrier);
    pthread_join(other, NULL);
    settle();
    say("ended: %s, %s", watch_amount(&below), watch_amount(&on));
    return 0;
}
