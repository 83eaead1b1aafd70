/* fork CASE: the child allocates, collects and starts threads, whatever other threads were doing. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

enum { ITEMS = 500 };

static struct item *items[ITEMS];
static volatile int stop;

static void *churn(void *argument)
{
    size_t size = 16 + (uintptr_t)argument * 40;
    while (!stop) {
        void *blocks[64];
        for (int i = 0; i < 64; i++)
            CHECK((blocks[i] = malloc(size + (size_t)i * (i % 16 == 0 ? 4000 : 1))) != NULL);
        for (int i = 0; i < 64; i++)
            free(blocks[i]);
    }
    return NULL;
}

static void *collect_always(void *unused)
{
    while (!stop)
        if (dunegc_collect)
            dunegc_collect();
        else
            usleep(1000);
    return unused;
}

static void *child_thread(void *argument)
{
    for (int i = 0; i < 200; i++)
        free(realloc(malloc(50), 5000));
    return argument;
}

static void verify(void)
{
    for (int i = 0; i < ITEMS; i++)
        CHECK(item_intact(items[i], i));
}

static void child(int depth, int with_threads)
{
    pthread_t thread;
    verify();
    for (int i = 0; i < 200; i++)
        free(malloc((size_t)i * 100));
    for (int i = 0; i < ITEMS; i += 2) {
        free(items[i]);
        items[i] = item_new(i);
    }
    collect();
    overwrite_freed();
    verify();
    if (with_threads) {
        CHECK(pthread_create(&thread, NULL, child_thread, NULL) == 0);
        CHECK(dunegc_collect == NULL || dunegc_collect() == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    if (depth > 0) {
        int status;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            child(depth - 1, with_threads);
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    verify();
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    pthread_t threads[3];
    int started = 0, rounds = 40;
    for (int i = 0; i < ITEMS; i++)
        items[i] = item_new(i);
    if (!strcmp(name, "allocating"))
        for (; started < 3; started++)
            CHECK(pthread_create(&threads[started], NULL, churn, (void *)(uintptr_t)started) == 0);
    else if (!strcmp(name, "collecting"))
        for (; started < 2; started++)
            CHECK(pthread_create(&threads[started], NULL, started ? churn : collect_always, NULL) == 0);
    else
        CHECK(!strcmp(name, "alone"));
    for (int i = 0; i < rounds; i++) {
        int status;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            child(i % 10 == 0 ? 2 : 0, i % 4 == 0);
            /* exit runs handlers, _exit does not. */
            if (i % 2)
                _exit(0);
            exit(0);
        }
        free(malloc(1000));
        CHECK(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
            fprintf(stderr, "child of round %d ended with wait status %#x\n", i, status);
            return 1;
        }
        verify();
    }
    stop = 1;
    while (started)
        CHECK(pthread_join(threads[--started], NULL) == 0);
    puts("ok");
    fflush(stdout);
    return 0;
}
