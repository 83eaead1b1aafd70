/* interposed CASE: functions that the library stands before do what libc's do, wherever they are called first.
 * Built with -DMODULE it is a module whose constructor waits until it is told to go on. */
#include "check.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#ifdef MODULE
static __attribute__((constructor)) void wait_for_main(void)
{
    volatile int *stage = *(volatile int **)dlsym(RTLD_DEFAULT, "stage");
    *stage = 1;
    while (*stage != 2)
        syscall(SYS_sched_yield);
}
#else

extern void *GC_malloc(size_t) __attribute__((weak));
volatile int *stage;
static int pipes[2];

static void *allocate(size_t size) { return GC_malloc ? GC_malloc(size) : malloc(size); }

/* A function of libc's name and another meaning. */
ssize_t getxattr(const char *path, const char *name, void *to, size_t size)
{
    return path && name && to ? (ssize_t)size + 4711 : 0;
}

/* Arguments in place of "..." and on the stack, results, errno. */
static void arguments(void)
{
    char buffer[64];
    errno = 77;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int file = memfd_create("file", 0), ready = -1;
    CHECK(file >= 0 && fcntl(file, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK);
    int copy = fcntl(file, F_DUPFD_CLOEXEC, 700);
    CHECK(copy == 700 && fcntl(copy, F_GETFD) == FD_CLOEXEC && fcntl(copy, F_SETFD, 0) == 0 && fcntl(copy, F_GETFD) == 0);
    CHECK(write(pipes[1], "hello", 5) == 5 && ioctl(pipes[0], FIONREAD, &ready) == 0 && ready == 5);
    CHECK(read(pipes[0], buffer, sizeof buffer) == 5 && !memcmp(buffer, "hello", 5));
    int sockets[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) == 0 && send(sockets[1], "seven", 5, 0) == 5);
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    /* The last argument lies on the stack. */
    extern ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, void *, socklen_t *);
    CHECK(__recvfrom_chk(sockets[0], buffer, 5, sizeof buffer, 0, &from, &length) == 5 && length <= sizeof from);
    char *six = (char *)syscall(SYS_mmap, NULL, 4096L, (long)PROT_READ, (long)MAP_SHARED, (long)file, 0L);
    CHECK(six != MAP_FAILED && munmap(six, 4096) == 0);
    CHECK(fcntl(pipes[0], F_SETFL, O_NONBLOCK) == 0 && errno == 77);
    CHECK(read(pipes[0], buffer, 1) == -1 && errno == EAGAIN);
    errno = 77;
    struct stat status;
    CHECK(stat("/nowhere", &status) == -1 && errno == ENOENT && fcntl(-1, F_GETFD) == -1 && errno == EBADF);
    CHECK(getxattr("", "", buffer, 1) == 4712);
    ssize_t (*next)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    errno = 77;
    CHECK(next && next(file, buffer, 1) == 0 && errno == 77 && !dlerror());
}

static void in_handler(int unused)
{
    struct rusage usage;
    (void)unused;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_maxrss > 0);
}

static sigjmp_buf back;

static void jump(int unused)
{
    (void)unused;
    siglongjmp(back, 1);
}

/* First calls in a handler and in a vfork child; a jump out of a call that waits. */
static void odd_places(void)
{
    struct timespec time;
    CHECK(signal(SIGUSR1, in_handler) != SIG_ERR && raise(SIGUSR1) == 0);
    pid_t pid = vfork();
    if (pid == 0)
        _exit(clock_getres(CLOCK_MONOTONIC, &time) == 0 ? 3 : 1);
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
    char *volatile to = allocate(64);
    for (volatile int i = 0; i < 600; i++) {
        if (!sigsetjmp(back, 1)) {
            struct itimerval soon = {.it_value.tv_usec = 1000};
            CHECK(signal(SIGALRM, jump) != SIG_ERR && setitimer(ITIMER_REAL, &soon, NULL) == 0);
            CHECK(read(pipes[0], to, 1) == 1);
        }
        to = i % 64 ? to : allocate(64);
    }
    CHECK(write(pipes[1], "x", 1) == 1 && read(pipes[0], to, 1) == 1 && *to == 'x');
}

static int cleaned;

static void clean(void *unused)
{
    (void)unused;
    __atomic_fetch_add(&cleaned, 1, __ATOMIC_SEQ_CST);
}

static void *wait_in(void *which)
{
    struct pollfd *fds = allocate(sizeof *fds);
    fd_set *set = allocate(sizeof *set);
    sigset_t none;
    sigemptyset(&none);
    *fds = (struct pollfd){.fd = pipes[0], .events = POLLIN};
    FD_ZERO(set);
    FD_SET(pipes[0], set);
    pthread_cleanup_push(clean, NULL);
    for (;;)
        switch ((intptr_t)which % 6) {
        case 0: read(pipes[0], allocate(16), 1); break;
        case 1: poll(fds, 1, -1); break;
        case 2: ppoll(fds, 1, NULL, &none); break;
        case 3: select(pipes[0] + 1, set, NULL, NULL, NULL); break;
        case 4: pselect(pipes[0] + 1, set, NULL, NULL, NULL, &none); break;
        case 5: nanosleep(&(struct timespec){.tv_sec = 1000}, allocate(16)); break;
        }
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancelled(void)
{
    enum { MANY = 60 };
    pthread_t threads[MANY];
    void *result;
    for (intptr_t i = 0; i < MANY; i++)
        CHECK(pthread_create(&threads[i], NULL, wait_in, (void *)i) == 0);
    usleep(200000);
    for (int i = 0; i < MANY; i++)
        CHECK(pthread_cancel(threads[i]) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(pthread_join(threads[i], &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(cleaned == MANY);
}

static void *load(void *module)
{
    CHECK(dlopen(module, RTLD_NOW));
    return NULL;
}

/* First calls while a thread loads a module, in another thread and in a fork child. */
static void loading(char *module)
{
    pthread_t thread;
    struct rlimit limit;
    stage = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(pthread_create(&thread, NULL, load, module) == 0);
    while (*stage != 1)
        syscall(SYS_sched_yield);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        _exit(getpriority(PRIO_PROCESS, 0) >= -20 && poll(NULL, 0, 1) == 0 ? 3 : 1);
    }
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 3);
    *stage = 2;
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    CHECK(pipe(pipes) == 0);
    if (!strcmp(name, "arguments"))
        arguments();
    else if (!strcmp(name, "odd-places"))
        odd_places();
    else if (!strcmp(name, "cancelled"))
        cancelled();
    else if (argc == 3 && !strcmp(name, "loading"))
        loading(argv[2]);
    else
        CHECK(!"a case");
    puts("ok");
    return 0;
}
#endif
