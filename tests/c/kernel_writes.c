/* kernel_writes CASE: system calls that write to collected memory while collections run beside the program. Under the dirty source mprotect the
 * kernel finds the memory protected. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

extern void *GC_malloc(size_t) __attribute__((weak));
extern unsigned long GC_get_gc_no(void) __attribute__((weak));

enum { OLD = 200000, SECONDS = 3 };

struct node {
    struct node *next, *young;
    uintptr_t check, unused;
};

static struct node *list;
static volatile int stop;

static void *allocate(size_t size) { return GC_malloc ? GC_malloc(size) : calloc(1, size); }
static uintptr_t check_of(const struct node *n) { return ~(uintptr_t)n * 0x9e3779b97f4a7c15u; }

static struct node *node_new(struct node *next)
{
    struct node *n = allocate(sizeof *n);
    CHECK(n);
    n->next = next;
    n->check = check_of(n);
    return n;
}

/* Keeps collections coming, and writes to old objects. */
static void *churn(void *unused)
{
    while (!stop)
        for (struct node *n = list; n && !stop; n = n->next) {
            n->young = GC_malloc ? node_new(NULL) : NULL;
            CHECK(n->check == check_of(n));
        }
    return unused;
}

/* Old memory of one size, a fresh piece of it each time: protected with luck. */
static void *target(size_t size)
{
    enum { MANY = 4096 };
    static void **some;
    static unsigned next;
    if (!some)
        some = allocate(MANY * sizeof *some);
    void **place = &some[next++ % MANY];
    if (!*place || next % 8 == 0)
        *place = allocate(256);
    CHECK(size <= 256);
    return *place;
}

static int pipes[2], sockets[2], file;

/* The only reference to a node arrives by read(2). */
static void by_pipe(void)
{
    struct node *n = node_new(NULL);
    struct node **slot = target(sizeof *slot);
    CHECK(write(pipes[1], &n, sizeof n) == sizeof n);
    n = NULL;
    CHECK(read(pipes[0], slot, sizeof *slot) == sizeof *slot);
    CHECK((*slot)->check == check_of(*slot));
}

static void by_libc(void)
{
    char *to = target(256);
    struct iovec *parts = target(2 * sizeof *parts);
    struct msghdr *message = target(sizeof *message);
    CHECK(pread(file, to, 200, 0) == 200 && to[0] == 7 && to[199] == 7);
    parts[0] = (struct iovec){target(100), 100};
    parts[1] = (struct iovec){target(50), 50};
    CHECK(preadv(file, parts, 2, 0) == 150 && ((char *)parts[1].iov_base)[49] == 7);
    CHECK(lseek(file, 0, SEEK_SET) == 0 && readv(file, parts, 2) == 150);
    CHECK(send(sockets[1], "hello", 5, 0) == 5 && recv(sockets[0], target(5), 5, 0) == 5);
    CHECK(send(sockets[1], "hello", 5, 0) == 5);
    socklen_t *length = target(sizeof *length);
    *length = 100;
    CHECK(recvfrom(sockets[0], target(5), 5, 0, target(128), length) == 5);
    CHECK(send(sockets[1], "hello", 5, 0) == 5);
    parts[0] = (struct iovec){target(3), 3};
    memset(message, 0, sizeof *message);
    *message = (struct msghdr){.msg_iov = parts, .msg_iovlen = 2, .msg_control = target(64), .msg_controllen = 64};
    CHECK(recvmsg(sockets[0], message, 0) == 5);
    CHECK(fstat(file, target(sizeof(struct stat))) == 0 && stat("/", target(sizeof(struct stat))) == 0);
    CHECK(ioctl(pipes[0], FIONREAD, target(sizeof(int))) == 0);
    struct pollfd *fds = target(sizeof *fds);
    *fds = (struct pollfd){.fd = pipes[1], .events = POLLOUT};
    CHECK(poll(fds, 1, 0) == 1 && fds->revents == POLLOUT);
    fds->revents = 0;
    CHECK(ppoll(fds, 1, NULL, NULL) == 1);
    fd_set *set = target(sizeof *set);
    FD_ZERO(set);
    FD_SET(pipes[1], set);
    CHECK(select(pipes[1] + 1, NULL, set, NULL, NULL) == 1);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLOUT};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[1], &event) == 0);
    CHECK(epoll_wait(epoll, target(sizeof event), 1, 0) == 1 && close(epoll) == 0);
    CHECK(getrandom(target(64), 64, 0) == 64);
    CHECK(getrlimit(RLIMIT_NOFILE, target(sizeof(struct rlimit))) == 0);
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, target(sizeof(struct timespec))) == 0);
    int *made = target(2 * sizeof *made);
    CHECK(pipe(made) == 0 && close(made[0]) == 0 && close(made[1]) == 0);
}

static void by_syscall(void)
{
    char *to = target(256);
    CHECK(syscall(SYS_pread64, file, to, 200L, 0L) == 200 && to[199] == 7);
    CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, target(sizeof(struct timespec))) == 0);
    CHECK(syscall(SYS_getrandom, target(16), 16L, 0) == 16);
    struct iovec *parts = target(sizeof *parts);
    *parts = (struct iovec){target(100), 100};
    CHECK(syscall(SYS_preadv, file, parts, 1L, 0L, 0L) == 100);
    CHECK(syscall(SYS_fstat, file, target(sizeof(struct stat))) == 0);
}

static void by_wait(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(3);
    int *status = target(sizeof *status);
    CHECK(wait4(pid, status, 0, target(sizeof(struct rusage))) == pid && WEXITSTATUS(*status) == 3);
}

/* A call that waits while memory is protected again and again. */
static void *wait_long(void *unused)
{
    while (!stop) {
        struct node **slot = target(sizeof *slot);
        CHECK(read(pipes[0], slot, sizeof *slot) == sizeof *slot);
        CHECK((*slot)->check == check_of(*slot));
    }
    return unused;
}

static void feed(void)
{
    usleep(100000);
    struct node *n = node_new(NULL);
    CHECK(write(pipes[1], &n, sizeof n) == sizeof n);
}

/* The program's own handler. */
static volatile sig_atomic_t faults;
static char *guarded;
static sigjmp_buf escape;

static void on_fault(int signal, siginfo_t *info, void *unused)
{
    (void)unused;
    CHECK(signal == SIGSEGV && info->si_addr == guarded);
    faults++;
    CHECK(mprotect(guarded, 4096, PROT_READ | PROT_WRITE) == 0);
}

static void on_escape(int unused)
{
    (void)unused;
    siglongjmp(escape, 1);
}

static void handle(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO}, old;
    int before = faults;
    action.sa_sigaction = on_fault;
    sigfillset(&action.sa_mask);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(mprotect(guarded, 4096, PROT_READ) == 0);
    *(volatile char *)guarded = 1;
    CHECK(faults == before + 1);
    CHECK(sigaction(SIGSEGV, NULL, &old) == 0 && old.sa_sigaction == on_fault);
    CHECK(signal(SIGSEGV, on_escape) != SIG_ERR);
    CHECK(mprotect(guarded, 4096, PROT_READ) == 0);
    if (!sigsetjmp(escape, 1)) {
        *(volatile char *)guarded = 1;
        CHECK(!"after a fault");
    }
    CHECK(signal(SIGSEGV, SIG_DFL) == on_escape);
    /* With all signals blocked, as far as the program can tell. */
    sigset_t all, was;
    sigfillset(&all);
    CHECK(sigprocmask(SIG_SETMASK, &all, &was) == 0);
    for (struct node *n = list; n; n = n->next)
        n->unused++;
    CHECK(sigprocmask(SIG_SETMASK, &was, NULL) == 0);
    by_libc();
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    pthread_t threads[2];
    int started = 0, is_long = !strcmp(name, "long");
    void (*step)(void) = !strcmp(name, "pipe") ? by_pipe : !strcmp(name, "libc") ? by_libc
        : !strcmp(name, "syscall") ? by_syscall : !strcmp(name, "wait") ? by_wait
        : !strcmp(name, "handler") ? handle : is_long ? feed : NULL;
    CHECK(step);
    char content[4096];
    memset(content, 7, sizeof content);
    CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) == 0);
    file = memfd_create("content", 0);
    CHECK(file >= 0 && write(file, content, sizeof content) == sizeof content);
    guarded = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(guarded != MAP_FAILED);
    for (int i = 0; i < OLD; i++)
        list = node_new(list);
    CHECK(pthread_create(&threads[started++], NULL, churn, NULL) == 0);
    if (is_long)
        CHECK(pthread_create(&threads[started++], NULL, wait_long, NULL) == 0);
    long steps = 0;
    time_t end = time(NULL) + SECONDS;
    do {
        step();
        steps++;
    } while (time(NULL) < end);
    stop = 1;
    if (is_long)
        feed();
    while (started)
        CHECK(pthread_join(threads[--started], NULL) == 0);
    printf("collections %lu steps %ld\n", GC_get_gc_no ? GC_get_gc_no() : 0, steps);
    return 0;
}
