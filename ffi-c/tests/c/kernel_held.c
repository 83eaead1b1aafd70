// In mode reclaim: blocks that only the kernel knows stay, a block that nobody knows goes.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
#ifdef WITH_URING
#include <liburing.h>
#include <poll.h>
#endif
#include <dunegc.h>

#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); exit(1); } } while (0)
__attribute__((noinline)) static void wipe(void) {
    volatile char stack[16384];
    for (unsigned i = 0; i < sizeof stack; i++) stack[i] = 0;
}
__attribute__((noinline)) static uintptr_t hidden(size_t n) {
    char *p = malloc(n);
    memset(p, 0x5a, n);
    return ~(uintptr_t)p;
}
static void collect(void) {
    for (int i = 0; i < 4; i++) {
        wipe();
        if (dunegc_collect() != 0) { perror("dunegc_collect"); exit(1); }
    }
}
static int alive(uintptr_t h) { return dunegc_base((void *)~h) != NULL; }

__attribute__((noinline)) static void queue(uintptr_t h) {
    CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_ptr = (void *)~h}) == 0);
}
__attribute__((noinline)) static void queue_thread(uintptr_t h) {
    CHECK(pthread_sigqueue(pthread_self(), SIGRTMIN + 1, (union sigval){.sival_ptr = (void *)~h}) == 0);
}
__attribute__((noinline)) static timer_t timer(uintptr_t h) {
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_ptr = (void *)~h};
    timer_t t;
    CHECK(timer_create(CLOCK_MONOTONIC, &e, &t) == 0);
    return t;
}
#ifdef WITH_URING
static struct io_uring ring;
__attribute__((noinline)) static void poll_request(int fd, uintptr_t h, int bare) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    io_uring_prep_poll_add(sqe, fd, POLLIN);
    io_uring_sqe_set_data(sqe, (void *)~h);
    if (!bare) {
        CHECK(io_uring_submit(&ring) == 1);
        return;
    }
    // As io_uring_submit does it, with a bare system call.
    unsigned mask = *ring.sq.kring_mask;
    ring.sq.array[ring.sq.sqe_head & mask] = ring.sq.sqe_head & mask;
    ring.sq.sqe_head++;
    __atomic_store_n(ring.sq.ktail, ring.sq.sqe_tail, __ATOMIC_RELEASE);
    CHECK(syscall(SYS_io_uring_enter, ring.ring_fd, 1, 0, 0, NULL, 0) == 1);
}
// Overwrites the entries that the ring remembers.
__attribute__((noinline)) static void forget_entries(void) {
    memset(ring.sq.sqes, 0, sizeof(struct io_uring_sqe) * *ring.sq.kring_entries);
}
#endif

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, NULL);

    uintptr_t nobody = hidden(3000), queued = hidden(3000), queued_thread = hidden(3000), timed = hidden(3000);
    queue(queued);
    queue_thread(queued_thread);
    timer_t t = timer(timed);
#ifdef WITH_URING
    uintptr_t polled = hidden(3000), bare = hidden(3000);
    int uring = io_uring_queue_init(8, &ring, 0), a[2], b[2];
    CHECK(pipe(a) == 0 && pipe(b) == 0);
    if (uring == 0) {
        poll_request(a[0], polled, 0);
        poll_request(b[0], bare, 1);
        forget_entries();
    }
#endif
    collect();
    CHECK(!alive(nobody));
    CHECK(alive(queued));
    CHECK(alive(queued_thread));
    CHECK(alive(timed));
    siginfo_t info;
    int seen = 0;
    for (int i = 0; i < 2; i++) {
        CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 1);
        char *p = info.si_value.sival_ptr;
        CHECK(p[0] == 0x5a && p[2999] == 0x5a);
        seen |= p == (char *)~queued ? 1 : p == (char *)~queued_thread ? 2 : 0;
        free(p);
    }
    CHECK(seen == 3);
    struct itimerspec soon = {.it_value.tv_nsec = 1000};
    timer_settime(t, 0, &soon, NULL);
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 1 && info.si_value.sival_ptr == (void *)~timed);
#ifdef WITH_URING
    if (uring == 0) {
        CHECK(alive(polled));
        CHECK(alive(bare));
        CHECK(write(a[1], "x", 1) == 1);
        struct io_uring_cqe *cqe;
        CHECK(io_uring_wait_cqe(&ring, &cqe) == 0 && io_uring_cqe_get_data(cqe) == (void *)~polled);
    } else {
        printf("no io_uring here: %s\n", strerror(-uring));
    }
#endif
    puts("ok");
}
