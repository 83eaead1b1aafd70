/* fork_beside SECONDS: forks while a large graph is being marked beside the program; the child has all of it and can collect. Prints the
 * forks. */
#include "check.h"
#include "node.h"
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

extern void GC_gcollect(void) __attribute__((weak));

enum { NODES = 300000 };

static volatile int stop;

static void verify(void)
{
    int count = 0;
    for (struct node *n = list; n; n = n->next, count++)
        CHECK(n->check == check_of(n));
    CHECK(count == NODES);
}

/* Keeps collections coming. */
static void *allocate(void *unused)
{
    while (!stop)
        for (struct node *n = list; n && !stop; n = n->next)
            n->young = node_new(NULL);
    return unused;
}

static void child(int number)
{
    verify();
    if (number % 4 == 0) {
        for (struct node *n = list; n; n = n->next)
            n->young = node_new(NULL);
        GC_gcollect();
        verify();
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    pthread_t thread;
    int number = 0;
    CHECK(argc == 2);
    if (!GC_malloc)
        return 0;
    for (int i = 0; i < NODES; i++)
        list = node_new(list);
    CHECK(pthread_create(&thread, NULL, allocate, NULL) == 0);
    time_t end = time(NULL) + atoi(argv[1]);
    do {
        int status;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            child(number);
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
        number++;
    } while (time(NULL) < end);
    stop = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    verify();
    printf("forks %d\n", number);
    return 0;
}
