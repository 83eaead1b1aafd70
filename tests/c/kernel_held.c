/* kernel_held CASE: blocks whose only pointer the kernel holds must survive forced collections. */
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

enum { N = 32 };

/* The items come back one by one, each must be the one expected and intact. */
static volatile sig_atomic_t returned[N];

static void give_back(struct item *item)
{
    uint64_t number = item->number;
    CHECK(number < N && item_intact(item, number));
    CHECK(!returned[number]);
    returned[number] = 1;
}

static void all_returned(void)
{
    for (int i = 0; i < N; i++)
        CHECK(returned[i]);
}

/* Collections may be put off, or spare all malloc'ed blocks (docs/kernel-held-pointers.md, "When nothing is reclaimed"). */
static int may_be_put_off;

static void collect_and_overwrite(void)
{
    if (may_be_put_off) {
        clear_stack();
        CHECK(!dunegc_collect || dunegc_collect() == 0 || errno == EAGAIN);
    } else {
        collect();
        controls_check();
    }
    overwrite_freed();
}

/* epoll: data.ptr of pipes that become readable only afterwards. */
static int pipes[N][2];

NOINLINE static void make_pipes(void)
{
    for (int i = 0; i < N; i++)
        CHECK(pipe2(pipes[i], O_CLOEXEC) == 0);
}

NOINLINE static void epoll_fill(int epoll, int modify)
{
    for (int i = 0; i < N; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = item_new(i)};
        if (modify) {
            struct epoll_event none = {.events = 0, .data.ptr = NULL};
            CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[i][0], &none) == 0);
            CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, pipes[i][0], &event) == 0);
        } else {
            CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[i][0], &event) == 0);
        }
    }
    clear_stack();
}

NOINLINE static void epoll_drain(int epoll)
{
    for (int seen = 0; seen < N;) {
        struct epoll_event events[8];
        int ready = epoll_wait(epoll, events, 8, 5000);
        CHECK(ready > 0 || errno == EINTR);
        for (int i = 0; i < ready; i++) {
            struct item *item = events[i].data.ptr;
            char byte;
            CHECK(read(pipes[item->number][0], &byte, 1) == 1);
            give_back(item);
            seen++;
        }
        memset(events, 0, sizeof events);
    }
}

static void case_epoll(int modify)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(epoll >= 0);
    make_pipes();
    epoll_fill(epoll, modify);
    collect_and_overwrite();
    for (int i = 0; i < N; i++)
        CHECK(write(pipes[i][1], "x", 1) == 1);
    epoll_drain(epoll);
    all_returned();
}

/* Timers: sigval of POSIX timers that expire afterwards. */
static volatile sig_atomic_t arrived;

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    give_back(info->si_value.sival_ptr);
    arrived++;
}

static void on_thread(union sigval value)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    give_back(value.sival_ptr);
    arrived++;
    pthread_mutex_unlock(&lock);
}

NOINLINE static void timers_arm(int by_thread)
{
    for (int i = 0; i < N; i++) {
        struct sigevent event = {.sigev_notify = by_thread ? SIGEV_THREAD : SIGEV_SIGNAL,
                                 .sigev_signo = SIGRTMIN + 2,
                                 .sigev_value.sival_ptr = item_new(i)};
        struct itimerspec once = {.it_value = {.tv_sec = 1, .tv_nsec = 1000000L * i}};
        timer_t timer;
        event.sigev_notify_function = on_thread;
        if (!by_thread)
            event.sigev_notify_function = NULL;
        CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        CHECK(timer_settime(timer, 0, &once, NULL) == 0);
        memset(&event, 0, sizeof event);
    }
    clear_stack();
}

static void case_timers(int by_thread)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGRTMIN + 2, &action, NULL) == 0);
    timers_arm(by_thread);
    collect_and_overwrite();
    for (int i = 0; i < 1000 && arrived < N; i++)
        usleep(10000);
    all_returned();
}

/* Queued signals: sigval of blocked, pending signals. */
NOINLINE static void queue_signals(void)
{
    for (int i = 0; i < N; i++)
        CHECK(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_ptr = item_new(i)}) == 0);
    clear_stack();
}

static void case_sigqueue(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 2);
    CHECK(sigaction(SIGRTMIN + 2, &action, NULL) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    queue_signals();
    collect_and_overwrite();
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
    all_returned();
}

/* io_uring: user_data of polls in flight. The program reuses the submission entries at once. */
struct ring {
    int fd;
    unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
};

static void ring_open(struct ring *ring)
{
    struct io_uring_params params = {0};
    ring->fd = (int)syscall(SYS_io_uring_setup, 2 * N, &params);
    CHECK(ring->fd >= 0);
    size_t sq_size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t cq_size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    char *sq = mmap(NULL, sq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
    char *cq = mmap(NULL, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_CQ_RING);
    ring->sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
                      ring->fd, IORING_OFF_SQES);
    CHECK(sq != MAP_FAILED && cq != MAP_FAILED && ring->sqes != MAP_FAILED);
    ring->sq_tail = (unsigned *)(sq + params.sq_off.tail);
    ring->sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
    ring->sq_array = (unsigned *)(sq + params.sq_off.array);
    ring->cq_head = (unsigned *)(cq + params.cq_off.head);
    ring->cq_tail = (unsigned *)(cq + params.cq_off.tail);
    ring->cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
    ring->cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

static void ring_submit(struct ring *ring, struct io_uring_sqe entry)
{
    unsigned tail = *ring->sq_tail, index = tail & *ring->sq_mask;
    ring->sqes[index] = entry;
    ring->sq_array[index] = index;
    __atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
    long submitted;
    do
        submitted = syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0);
    while (submitted < 0 && errno == EINTR);
    CHECK(submitted == 1);
}

NOINLINE static void ring_fill(struct ring *ring)
{
    for (int i = 0; i < N; i++) {
        struct io_uring_sqe entry = {.opcode = IORING_OP_POLL_ADD, .fd = pipes[i][0], .poll32_events = POLLIN};
        entry.user_data = (uintptr_t)item_new(i);
        ring_submit(ring, entry);
        memset(&entry, 0, sizeof entry);
    }
    clear_stack();
}

/* As many no-ops as the ring has entries, with plain numbers as user_data. */
static void ring_wrap(struct ring *ring)
{
    for (unsigned i = 0; i <= *ring->sq_mask; i++) {
        struct io_uring_sqe entry = {.opcode = IORING_OP_NOP, .user_data = 1};
        ring_submit(ring, entry);
    }
}

NOINLINE static void ring_drain(struct ring *ring)
{
    for (int seen = 0; seen < N;) {
        long waited = syscall(SYS_io_uring_enter, ring->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
        CHECK(waited >= 0 || errno == EINTR);
        unsigned head = *ring->cq_head;
        for (; head != __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE); head++) {
            struct io_uring_cqe *done = &ring->cqes[head & *ring->cq_mask];
            if (done->user_data != 1) {
                give_back((struct item *)(uintptr_t)done->user_data);
                seen++;
            }
        }
        __atomic_store_n(ring->cq_head, head, __ATOMIC_RELEASE);
    }
}

static void case_io_uring(int wrap)
{
    struct ring ring;
    make_pipes();
    ring_open(&ring);
    ring_fill(&ring);
    if (wrap)
        ring_wrap(&ring);
    collect_and_overwrite();
    for (int i = 0; i < N; i++)
        CHECK(write(pipes[i][1], "x", 1) == 1);
    ring_drain(&ring);
    all_returned();
}

/* Thread arguments: another thread collects all the time while threads are made. */
static volatile int stop;

static void *collect_always(void *unused)
{
    while (!stop)
        if (dunegc_collect)
            CHECK(dunegc_collect() == 0);
        else
            usleep(1000);
    return unused;
}

static void *thread_with_item(void *argument)
{
    struct item *item = argument;
    CHECK(item_intact(item, item->number));
    free(item);
    __atomic_fetch_add(&arrived, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void case_thread_argument(void)
{
    pthread_t collector;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    CHECK(pthread_create(&collector, NULL, collect_always, NULL) == 0);
    const int rounds = 600;
    for (int i = 0; i < rounds; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, thread_with_item, item_new(i)) == 0);
        if (i % 8 == 0)
            clear_stack();
        while (i - arrived > 64)
            usleep(100);
    }
    while (arrived < rounds)
        usleep(1000);
    stop = 1;
    pthread_join(collector, NULL);
}

/* Pipes and sockets: the pointer travels as bytes. */
NOINLINE static void send_pointers(int fd)
{
    for (int i = 0; i < N; i++) {
        struct item *item = item_new(i);
        CHECK(write(fd, &item, sizeof item) == sizeof item);
        item = NULL;
        __asm__ volatile("" : : "r"(&item) : "memory");
    }
    clear_stack();
}

/* In one message with other words around the pointer, by writev. */
NOINLINE static void send_messages(int fd)
{
    for (int i = 0; i < N; i++) {
        uint64_t message[4] = {1, 2, (uintptr_t)item_new(i), 3};
        struct iovec parts[2] = {{message, 16}, {message + 2, 16}};
        CHECK(writev(fd, parts, 2) == sizeof message);
        memset(message, 0, sizeof message);
        __asm__ volatile("" : : "r"(message) : "memory");
    }
    clear_stack();
}

NOINLINE static void receive(int fd, size_t words, size_t at)
{
    for (int i = 0; i < N; i++) {
        uintptr_t message[4];
        CHECK(read(fd, message, words * 8) == (ssize_t)(words * 8));
        give_back((struct item *)message[at]);
    }
}

static void case_stream(int in, int out, int messages)
{
    if (messages)
        send_messages(in);
    else
        send_pointers(in);
    collect_and_overwrite();
    receive(out, messages ? 4 : 1, messages ? 2 : 0);
    all_returned();
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    int ends[2];
    controls_make();
    if (!strcmp(name, "epoll")) {
        case_epoll(0);
    } else if (!strcmp(name, "epoll-modify")) {
        case_epoll(1);
    } else if (!strcmp(name, "timer-signal")) {
        case_timers(0);
    } else if (!strcmp(name, "timer-thread")) {
        case_timers(1);
    } else if (!strcmp(name, "sigqueue")) {
        case_sigqueue();
    } else if (!strcmp(name, "io-uring")) {
        case_io_uring(0);
    } else if (!strcmp(name, "io-uring-wrapped")) {
        may_be_put_off = 1;
        case_io_uring(1);
    } else if (!strcmp(name, "thread-argument")) {
        case_thread_argument();
    } else if (!strncmp(name, "pipe", 4)) {
        CHECK(pipe(ends) == 0);
        case_stream(ends[1], ends[0], !strcmp(name, "pipe-message"));
    } else if (!strncmp(name, "socketpair", 10)) {
        int type = strstr(name, "datagram") ? SOCK_DGRAM : SOCK_STREAM;
        CHECK(socketpair(AF_UNIX, type, 0, ends) == 0);
        case_stream(ends[1], ends[0], !!strstr(name, "message"));
    } else {
        fprintf(stderr, "kernel_held: unknown case %s\n", name);
        return 2;
    }
    puts("ok");
    return 0;
}
