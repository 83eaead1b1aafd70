/* Threads that are stopped by hand, and the whole world. */
#include "oracle.h"
#include <gc/javaxfc.h>
#include <pthread.h>

static volatile long ticks;
static volatile int stop;

static void *tick(void *data)
{
    while (!stop) {
        ticks++;
        if (ticks % 1000 == 0)
            GC_MALLOC(16);
    }
    return data;
}

static int advances(void)
{
    long before = ticks;
    for (int i = 0; i < 200 && ticks == before; i++)
        usleep(5000);
    return ticks != before;
}

static int stands(void)
{
    usleep(20000);
    long before = ticks;
    usleep(50000);
    return ticks == before;
}

int main(void)
{
    GC_INIT();
    pthread_t thread;
    pthread_create(&thread, NULL, tick, NULL);
    say("runs: %d, suspended: %d", advances(), GC_is_thread_suspended(thread));
    GC_suspend_thread(thread);
    say("stands: %d, suspended: %d", stands(), GC_is_thread_suspended(thread) != 0);
    collect();
    say("after a collection, stands: %d", stands());
    GC_suspend_thread(thread);
    GC_resume_thread(thread);
    say("resumed once, runs: %d, suspended: %d", advances(), GC_is_thread_suspended(thread) != 0);
    GC_resume_thread(thread);
    say("resumed again, runs: %d", advances());
    GC_stop_world_external();
    int still = stands();
    GC_start_world_external();
    say("world stopped: %d, runs: %d", still, advances());
    stop = 1;
    pthread_join(thread, NULL);
    say("ended");
    return 0;
}
