/* limits CASE: what the library does when the system refuses something. */
#include "check.h"
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

/* Allocates until NULL, in blocks of `size`; the list is threaded through the blocks. */
NOINLINE static size_t exhaust(size_t size, void ***list)
{
    size_t count = 0;
    for (;;) {
        errno = 0;
        void **block = malloc(size);
        if (!block)
            break;
        memset(block, 0x5a, size < 4096 ? size : 4096);
        *block = *list;
        *list = block;
        count++;
        CHECK(count * size < (size_t)2 << 30);
    }
    CHECK(errno == ENOMEM);
    return count;
}

static void release(void **list)
{
    while (list) {
        void **next = *list;
        free(list);
        list = next;
    }
}

/* Exhaustion gives NULL and ENOMEM, a program that frees goes on, several times over. */
static void case_exhaust(void)
{
    static const size_t sizes[] = {64, 1000, 40000, 3 << 20};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) {
            void **list = NULL;
            size_t count = exhaust(sizes[i], &list);
            CHECK(count * sizes[i] > (size_t)8 << 20);
            errno = 0;
            CHECK(calloc(3 << 20, 1) == NULL || sizes[i] > (1 << 20));
            release(list);
            list = NULL;
            void *p = malloc(4 << 20);
            CHECK(p);
            memset(p, 1, 4 << 20);
            free(p);
        }
    }
    collect();
}

/* A little of everything. */
static void *ordinary(void *unused)
{
    struct item *items[1000];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 1000; i++)
            items[i] = item_new(i);
        if (dunegc_collect)
            dunegc_collect();
        overwrite_freed();
        for (int i = 0; i < 1000; i++) {
            CHECK(item_intact(items[i], i));
            free(items[i]);
        }
        free(malloc(5 << 20));
    }
    return unused;
}

/* Filters system calls: every listed one fails with the error. */
static void refuse(const int *calls, int count, int error)
{
    struct sock_filter filter[32];
    int n = 0;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = (unsigned short)n, .filter = filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void set_limit(int resource, rlim_t value)
{
    struct rlimit limit = {value, value};
    CHECK(setrlimit(resource, &limit) == 0);
}

/* A thread that blocks every signal by the instruction itself, so that no library can leave one out. */
static void set_mask(uint64_t mask)
{
    long result;
    register long size __asm__("r10") = 8;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(SYS_rt_sigprocmask), "D"(SIG_SETMASK), "S"(&mask), "d"(0), "r"(size)
                     : "rcx", "r11", "memory");
    CHECK(result == 0);
}

enum { HELD = 64 };
static volatile int blocked, unblock;
static uintptr_t handed[HELD];

static void *blocks_all_signals(void *unused)
{
    uintptr_t held[HELD];
    for (int i = 0; i < HELD; i++) {
        held[i] = ~handed[i];
        handed[i] = 0;
    }
    __asm__ volatile("" : : "r"(held) : "memory");
    set_mask(~0ULL);
    blocked = 1;
    while (!unblock)
        usleep(1000);
    set_mask(0);
    __asm__ volatile("" : : "r"(held) : "memory");
    for (int i = 0; i < HELD; i++)
        CHECK(item_intact((struct item *)held[i], i));
    return unused;
}

NOINLINE static void hand_over(void)
{
    for (int i = 0; i < HELD; i++)
        handed[i] = hide(item_new(i));
    clear_stack();
}

static void case_blocked_signals(void)
{
    pthread_t thread;
    struct timespec before, after;
    hand_over();
    CHECK(pthread_create(&thread, NULL, blocks_all_signals, NULL) == 0);
    while (!blocked)
        usleep(1000);
    clear_stack();
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int i = 0; dunegc_collect && i < 3; i++) {
        errno = 0;
        CHECK(dunegc_collect() == -1 && errno == EAGAIN);
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec - before.tv_sec < 20);
    overwrite_freed();
    unblock = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    collect();
}

static void case_no_threads(void)
{
    static const int calls[] = {SYS_clone, SYS_clone3, SYS_fork, SYS_vfork};
    pthread_t thread;
    refuse(calls, 4, EAGAIN);
    CHECK(pthread_create(&thread, NULL, ordinary, NULL) == EAGAIN);
    ordinary(NULL);
}

static void case_process_limit(void)
{
    /* root is exempt from this limit. */
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    set_limit(RLIMIT_NPROC, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, ordinary, NULL) == EAGAIN);
    ordinary(NULL);
}

static void case_no_descriptors(void)
{
    set_limit(RLIMIT_NOFILE, 0);
    CHECK(open("/dev/null", O_RDONLY) < 0 && errno == EMFILE);
    ordinary(NULL);
}

static void case_descriptors_closed(void)
{
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    ordinary(NULL);
    CHECK(open("/dev/null", O_RDONLY) == 3);
    ordinary(NULL);
}

static void case_mmap_refused(void)
{
    static const int calls[] = {SYS_mmap, SYS_mremap, SYS_brk};
    free(malloc(100));
    refuse(calls, 3, ENOMEM);
    void **list = NULL;
    for (int i = 0; i < 100; i++) {
        errno = 0;
        void *p = malloc((size_t)1 << 40);
        CHECK(p == NULL && errno == ENOMEM);
    }
    /* What the heap already holds may be handed out; when that ends, it ends with ENOMEM. */
    for (size_t count = 0; count < 100000; count++) {
        errno = 0;
        void **block = malloc(1000);
        if (!block) {
            CHECK(errno == ENOMEM);
            break;
        }
        *block = list;
        list = block;
    }
    release(list);
    if (dunegc_collect)
        dunegc_collect();
}

static void case_advice_refused(void)
{
    static const int calls[] = {SYS_madvise, SYS_membarrier, SYS_rseq, SYS_sched_getaffinity, SYS_getcpu,
                                SYS_prctl, SYS_process_madvise};
    refuse(calls, 7, ENOSYS);
    ordinary(NULL);
}

static void case_no_proc(void)
{
    CHECK(unshare(CLONE_NEWNS) == 0);
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(umount2("/proc", MNT_DETACH) == 0);
    CHECK(access("/proc/self", F_OK) != 0);
    ordinary(NULL);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, ordinary, NULL) == 0);
    ordinary(NULL);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void case_ordinary(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, ordinary, NULL) == 0);
    ordinary(NULL);
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } cases[] = {
        {"exhaust", case_exhaust},
        {"blocked-signals", case_blocked_signals},
        {"no-threads", case_no_threads},
        {"process-limit", case_process_limit},
        {"no-descriptors", case_no_descriptors},
        {"descriptors-closed", case_descriptors_closed},
        {"mmap-refused", case_mmap_refused},
        {"advice-refused", case_advice_refused},
        {"no-proc", case_no_proc},
        {"ordinary", case_ordinary},
    };
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof *cases; i++) {
        if (!strcmp(argv[1], cases[i].name)) {
            cases[i].run();
            puts("ok");
            return 0;
        }
    }
    fprintf(stderr, "limits: unknown case %s\n", argc > 1 ? argv[1] : "");
    return 2;
}
