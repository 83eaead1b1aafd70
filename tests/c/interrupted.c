/* System calls that SA_RESTART restarts must not fail with EINTR because of collections. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

static int data_pipe[2], full_pipe[2], pair[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sem_t semaphore;
static pid_t child;

static void *reads(void *unused)
{
    char byte;
    CHECK(read(data_pipe[0], &byte, 1) == 1);
    return unused;
}

static void *writes(void *unused)
{
    char page[65536] = {0};
    for (int i = 0; i < 3; i++)
        CHECK(write(full_pipe[1], page, sizeof page) == sizeof page);
    return unused;
}

static void *receives(void *unused)
{
    char byte;
    CHECK(recv(pair[0], &byte, 1, 0) == 1);
    return unused;
}

static void *locks(void *unused)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    return unused;
}

static void *waits_for_semaphore(void *unused)
{
    CHECK(sem_wait(&semaphore) == 0);
    return unused;
}

static void *waits_for_child(void *unused)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return unused;
}

/* A short write or read is a change of behaviour as well; sleep has a remainder that tells. */
static void *sleeps(void *unused)
{
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    struct timespec until = {before.tv_sec + 1, before.tv_nsec};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec > before.tv_sec);
    return unused;
}

int main(void)
{
    void *(*work[])(void *) = {reads, writes, receives, locks, waits_for_semaphore, waits_for_child, sleeps};
    enum { WORKERS = sizeof work / sizeof *work };
    pthread_t threads[WORKERS];
    char buffer[65536];
    CHECK(pipe(data_pipe) == 0 && pipe(full_pipe) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(sem_init(&semaphore, 0, 0) == 0);
    CHECK(pthread_mutex_lock(&mutex) == 0);
    child = fork();
    if (child == 0) {
        usleep(1200000);
        _exit(0);
    }
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, work[i], NULL) == 0);
    usleep(50000);
    for (int i = 0; i < 20; i++) {
        collect();
        usleep(2000);
    }
    CHECK(write(data_pipe[1], "x", 1) == 1 && send(pair[1], "x", 1, 0) == 1);
    CHECK(pthread_mutex_unlock(&mutex) == 0 && sem_post(&semaphore) == 0);
    for (size_t total = 0; total < 3 * sizeof buffer;) {
        ssize_t got = read(full_pipe[0], buffer, sizeof buffer);
        CHECK(got > 0);
        total += (size_t)got;
        collect();
    }
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    puts("ok");
    return 0;
}
