// A program that blocks, waits for and handles all signals: collections go on, and every other signal is untouched.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <dunegc.h>

#define CHECK(x) do { if (!(x)) { printf("line %d: %s (errno %d)\n", __LINE__, #x, errno); exit(1); } } while (0)
static volatile int phase, done, in_handler;
static sem_t ready;
static int stop_signal;

static void spin_handler(int s) {
    (void)s;
    in_handler = 1;
    while (!done) __asm__ volatile("pause");
}
static void *blocker(void *arg) {
    long way = (long)arg;
    sigset_t all;
    sigfillset(&all);
    struct timespec ts = {.tv_sec = 30};
    struct pollfd none = {.fd = -1};
    struct sigaction a = {.sa_handler = spin_handler};
    sigfillset(&a.sa_mask);
    int e, s;
    switch (way) {
    case 0: pthread_sigmask(SIG_SETMASK, &all, NULL); sem_post(&ready); while (!done) usleep(1000); break;
    case 1: sigprocmask(SIG_BLOCK, &all, NULL); sem_post(&ready); while (!done) __asm__ volatile("pause"); break;
    case 2: sem_post(&ready); while (!done) { ts.tv_sec = 0; ts.tv_nsec = 20000000; ppoll(&none, 1, &ts, &all); } break;
    case 3: sem_post(&ready); while (!done) { ts.tv_sec = 0; ts.tv_nsec = 20000000; pselect(0, NULL, NULL, NULL, &ts, &all); } break;
    case 4:
        e = epoll_create1(0);
        sem_post(&ready);
        struct epoll_event ev;
        while (!done) epoll_pwait(e, &ev, 1, 20, &all);
        break;
    case 5: sigaction(SIGUSR1, &a, NULL); sem_post(&ready); raise(SIGUSR1); break;
    case 6: syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8); sem_post(&ready); while (!done) usleep(1000); break;
    case 7: pthread_sigmask(SIG_SETMASK, &all, NULL); sem_post(&ready); while (!done) { ts.tv_sec = 0; ts.tv_nsec = 20000000; s = sigtimedwait(&all, NULL, &ts); CHECK(s == -1); } break;
    case 8:
        e = signalfd(-1, &all, SFD_NONBLOCK);
        CHECK(e >= 0);
        sem_post(&ready);
        struct signalfd_siginfo info;
        while (!done) { CHECK(read(e, &info, sizeof info) == -1 && (errno == EAGAIN || errno == EINTR)); usleep(1000); }
        break;
    }
    return NULL;
}
static void pass(int s) { phase = s; }
int main(int argc, char **argv) {
    (void)argc;
    stop_signal = atoi(argv[1]);
    sem_init(&ready, 0, 0);
    pthread_t t[9];
    for (long i = 0; i < 9; i++) {
        pthread_create(&t[i], NULL, blocker, (void *)i);
        sem_wait(&ready);
    }
    while (!in_handler) usleep(1000);
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 1000; k++) *(char *)dunegc_alloc(64) = 1;
        CHECK(dunegc_collect() == 0);
    }
    done = 1;
    for (int i = 0; i < 9; i++) pthread_join(t[i], NULL);

    // The stop signal's handler cannot be replaced, and asking gives what was set.
    struct sigaction a = {.sa_handler = pass}, old;
    CHECK(sigaction(stop_signal, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK(sigaction(stop_signal, &a, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK(sigaction(stop_signal, NULL, &old) == 0 && old.sa_handler == pass);
    CHECK(signal(stop_signal, SIG_IGN) == pass);
    CHECK(signal(stop_signal, SIG_DFL) == SIG_IGN);
    CHECK(dunegc_collect() == 0);
    // Other signals work as ever.
    for (int s = SIGRTMIN; s <= SIGRTMAX; s++) {
        if (s == stop_signal) continue;
        CHECK(sigaction(s, &a, &old) == 0);
        raise(s);
        CHECK(phase == s);
    }
    CHECK(signal(SIGUSR2, pass) == SIG_DFL);
    raise(SIGUSR2);
    CHECK(phase == SIGUSR2);
    sigset_t set, now;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, stop_signal);
    CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGUSR2) == 1 && sigismember(&now, stop_signal) == 0);
    CHECK(sigprocmask(77, &set, NULL) == -1 && errno == EINVAL);
    CHECK(sigaction(SIGKILL, &a, NULL) == -1 && errno == EINVAL);
    CHECK(syscall(SYS_getpid) == getpid());
    errno = 0;
    CHECK(syscall(SYS_close, -1) == -1 && errno == EBADF);
    CHECK(syscall(100000) == -1 && errno == ENOSYS);
    long pagesize[1];
    CHECK(syscall(SYS_mincore, (long)pagesize & ~4095L, 0, 0, 0, 0, 0) == 0);
    puts("ok");
}
