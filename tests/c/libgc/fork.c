/* Fork: children that allocate and collect, with handlers of the library and with calls of the program around fork. */
#include "oracle.h"
#include <pthread.h>
#include <sys/wait.h>

static volatile int stop;
static long *volatile kept[100];

static void *churn(void *data)
{
    long count = 0;
    while (!stop) {
        memset(GC_MALLOC(100), 1, 100);
        if (++count % 5000 == 0)
            GC_gcollect();
    }
    return data;
}

static void *nothing(void *data) { return data; }

static int work(void)
{
    long sum = 0;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20000; i++)
            memset(GC_MALLOC(64), 2, 64);
        GC_gcollect();
    }
    for (int i = 0; i < 100; i++)
        sum += kept[i][0];
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL))
        return 2;
    return sum == 4950 ? 42 : 1;
}

int main(int argc, char **argv)
{
    int by_hand = argc > 1 && strcmp(argv[1], "by-hand") == 0;
    GC_set_handle_fork(by_hand ? -1 : 1);
    GC_INIT();
    for (int i = 0; i < 100; i++) {
        long *object = GC_MALLOC(64);
        object[0] = i;
        kept[i] = object;
    }
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < 6; i++) {
        if (by_hand)
            GC_atfork_prepare();
        pid_t child = fork();
        if (child == 0) {
            if (by_hand)
                GC_atfork_child();
            if (i == 5)
                GC_start_mark_threads();
            int result = work();
            _exit(result);
        }
        if (by_hand)
            GC_atfork_parent();
        int status = 0;
        waitpid(child, &status, 0);
        say("child %d: exited %d with %d", i, WIFEXITED(status), WEXITSTATUS(status));
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    say("parent: %d", work());
    return 0;
}
