/* until_exit SECONDS: threads build and drop lists until the process ends under them. */
#include "check.h"
#include <pthread.h>
#include <time.h>

extern void *GC_malloc(size_t) __attribute__((weak));

enum { THREADS = 3, KEPT = 40000 };

struct node {
    struct node *next;
    uintptr_t payload[3];
};

static struct node *kept[THREADS];

static void *build(void *which)
{
    struct node **list = which;
    for (;;) {
        struct node *old = *list, *fresh = NULL;
        for (int i = 0; i < KEPT; i++) {
            struct node *n = GC_malloc(sizeof *n);
            CHECK(n);
            n->next = fresh;
            fresh = n;
            if (old) {
                old->payload[0]++;
                old = old->next;
            }
        }
        *list = fresh;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    CHECK(argc == 2);
    if (!GC_malloc)
        return 0;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread, NULL, build, &kept[i]) == 0);
    /* Stops interrupt a sleep. */
    for (time_t end = time(NULL) + atoi(argv[1]); time(NULL) < end;)
        usleep(1000);
    return 0;
}
