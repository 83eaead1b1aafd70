/* POSIX timers with SIGEV_THREAD: what a program sees of them, while the world is stopped again and again. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(c)                                                                    \
    do {                                                                            \
        if (!(c)) {                                                                 \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #c, errno); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

/* Absent without the library. */
extern __attribute__((weak)) int dunegc_collect(void);

static void collect(void)
{
    if (dunegc_collect)
        CHECK(dunegc_collect() == 0);
}

static volatile int calls, wrong;

struct expected {
    size_t stack;
    int magic;
};

static void on_timer(union sigval value)
{
    struct expected *e = value.sival_ptr;
    pthread_attr_t self;
    size_t size;
    int detached;
    sigset_t mask;
    CHECK(pthread_getattr_np(pthread_self(), &self) == 0);
    CHECK(pthread_attr_getstacksize(&self, &size) == 0);
    CHECK(pthread_attr_getdetachstate(&self, &detached) == 0);
    pthread_attr_destroy(&self);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    if (e->magic != 4711 || detached != PTHREAD_CREATE_DETACHED || !sigismember(&mask, SIGUSR1) ||
        (e->stack && (size < e->stack || size > e->stack + 65536)))
        __atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
    free(malloc(100));
    __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
}

static struct expected *expected_new(size_t stack)
{
    struct expected *e = malloc(sizeof *e);
    *e = (struct expected){stack, 4711};
    return e;
}

static timer_t create(size_t stack)
{
    timer_t t;
    pthread_attr_t attributes;
    struct sigevent e = {.sigev_notify = SIGEV_THREAD,
                         .sigev_notify_function = on_timer,
                         .sigev_value.sival_ptr = expected_new(stack)};
    if (stack) {
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, stack);
        e.sigev_notify_attributes = &attributes;
    }
    CHECK(timer_create(CLOCK_MONOTONIC, &e, &t) == 0);
    if (stack)
        pthread_attr_destroy(&attributes);
    return t;
}

static void wait_for(int n)
{
    for (int i = 0; i < 2000 && calls < n; i++) {
        usleep(5000);
        if (i % 8 == 0)
            collect();
    }
    CHECK(calls >= n);
    CHECK(wrong == 0);
}

/* Threads that were started may come late; a timer that goes on starts one every 3 ms. */
static void stands_still(void)
{
    int then, rounds = 0;
    do {
        CHECK(rounds++ < 100);
        then = calls;
        usleep(50000);
    } while (calls != then);
}

static void arm(timer_t t, long first_ns, long every_ns)
{
    struct itimerspec s = {{0, every_ns}, {0, first_ns}};
    CHECK(timer_settime(t, 0, &s, NULL) == 0);
}

int main(void)
{
    timer_t once = create(0), often = create(256 << 10), never = create(0);
    for (int i = 0; i < 20; i++)
        collect();
    arm(once, 1000000, 0);
    wait_for(1);
    usleep(50000);
    CHECK(calls == 1);

    arm(often, 3000000, 3000000);
    wait_for(20);
    struct itimerspec now;
    CHECK(timer_gettime(often, &now) == 0 && now.it_interval.tv_nsec == 3000000);
    CHECK(timer_gettime(once, &now) == 0 && now.it_interval.tv_nsec == 0 && now.it_value.tv_nsec == 0);
    CHECK(timer_getoverrun(often) >= 0);

    /* A child has no timers of its parent's, but can make its own. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        calls = 0;
        usleep(30000);
        CHECK(calls == 0);
        arm(create(0), 1000000, 0);
        wait_for(1);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);

    CHECK(timer_delete(often) == 0);
    stands_still();
    CHECK(timer_delete(often) == -1 && errno == EINVAL);
    CHECK(timer_delete(once) == 0 && timer_delete(never) == 0);

    /* Made and deleted while they expire. */
    for (int i = 0; i < 200; i++) {
        timer_t t = create(0);
        arm(t, 1000 * (i + 1), 100000);
        if (i % 4 == 0)
            collect();
        CHECK(timer_delete(t) == 0);
    }
    struct sigevent bad = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer};
    timer_t t;
    CHECK(timer_create(12345, &bad, &t) == -1 && errno == EINVAL);
    CHECK(wrong == 0);
    puts("ok");
    return 0;
}
