/* dirty_bad CASE: what a program can do to the source of written pages, before the first collection or in the middle of many. Its own memory and
 * descriptors stay as they are. Prints the number of collections. */
#include "check.h"
#include "node.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

extern unsigned long GC_get_gc_no(void) __attribute__((weak));

enum { OLD = 100000, PAGEMAP_SCAN = 0xc0606610 };

static volatile int stop;

static void walk(void)
{
    int count = 0;
    for (struct node *n = list; n; n = n->next, count++) {
        CHECK(n->check == check_of(n));
        if (n->young)
            CHECK(n->young->check == check_of(n->young));
        n->young = node_new(NULL);
    }
    CHECK(count == OLD);
}

static void *churn(void *unused)
{
    while (!stop)
        for (int i = 0; i < 1000; i++)
            node_new(NULL);
    return unused;
}

/* From now on `action` answers the system call, if its second argument is `argument` (0: whatever that is). */
static void filter(unsigned call, unsigned argument, unsigned action, int all_threads)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument ? 24 : 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument ? argument : call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (all_threads)
        CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
    else
        CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* How many descriptors the collector keeps, at high numbers: there are others for a moment. A file of our own is put over them, unless that is -1. */
static int replaced[16];

static int descriptors(int with)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int count = 0;
    CHECK(dir);
    while ((entry = readdir(dir))) {
        char name[300], target[4096];
        snprintf(name, sizeof name, "/proc/self/fd/%s", entry->d_name);
        ssize_t n = readlink(name, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = 0;
        const int number = atoi(entry->d_name);
        if (number < 200 || !(strstr(target, "userfaultfd") || strstr(target, "pagemap")))
            continue;
        if (with >= 0) {
            CHECK(dup2(with, number) >= 0);
            replaced[count] = number;
        }
        count++;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    pthread_t thread;
    int own = -1, count = 0;
    char *watched = NULL;
    if (!GC_malloc)
        return 0;
    if (!strcmp(name, "forbidden")) {
        filter(SYS_userfaultfd, 0, SECCOMP_RET_ERRNO | EPERM, 0);
    } else if (!strcmp(name, "killed")) {
        filter(SYS_ioctl, PAGEMAP_SCAN, SECCOMP_RET_KILL_PROCESS, 0);
    } else if (!strcmp(name, "no-descriptors") || !strcmp(name, "none-at-all")) {
        struct rlimit limit = {64, name[2] == '-' ? 128 : 64};
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        while (dup(2) >= 0)
            ;
        CHECK(errno == EMFILE);
    } else if (!strcmp(name, "userfaultfd")) {
        /* A part of the heap, with faults that the program answers itself: here none, since all pages are there. */
        size_t size = 4 << 20;
        watched = GC_malloc(size);
        CHECK(watched && ((uintptr_t)watched & 4095) == 0);
        memset(watched, 1, size);
        int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
        struct uffdio_api api = {.api = UFFD_API};
        struct uffdio_register area = {.range = {(uintptr_t)watched, size}, .mode = UFFDIO_REGISTER_MODE_MISSING};
        CHECK(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &area) == 0);
    }
    for (int i = 0; i < OLD; i++)
        list = node_new(list);
    CHECK(pthread_create(&thread, NULL, churn, NULL) == 0);
    time_t begin = time(NULL);
    int done = 0;
    /* How many collections there must have been when it ends: some before, and some after what happens to the source. On a busy machine that takes longer
     * than usual. */
    unsigned long enough = strcmp(name, "none-at-all") ? 5 : 0;
    do {
        walk();
        if (watched)
            /* The only reference to an object lies in memory that another userfaultfd watches. */
            for (size_t at = 0; at < 4 << 20; at += 8192) {
                struct node **slot = (struct node **)(watched + at);
                if (done)
                    CHECK((*slot)->check == check_of(*slot));
                *slot = node_new(NULL);
            }
        done += watched != NULL;
        /* Descriptors can only go once there are some. */
        const int waits = !strcmp(name, "closefrom") || !strcmp(name, "dup2");
        if (!done && time(NULL) > begin && (!waits || descriptors(-1) == 2)) {
            done = 1;
            if (!strcmp(name, "killed-later")) {
                filter(SYS_ioctl, PAGEMAP_SCAN, SECCOMP_RET_KILL_PROCESS, 1);
            } else if (!strcmp(name, "killed-alone")) {
                filter(SYS_ioctl, PAGEMAP_SCAN, SECCOMP_RET_KILL_PROCESS, 0);
            } else if (!strcmp(name, "closefrom")) {
                CHECK(close_range(3, ~0U, 0) == 0);
            } else if (!strcmp(name, "dup2")) {
                own = memfd_create("own", 0);
                CHECK(own >= 0 && write(own, "mine", 4) == 4);
                count = descriptors(own);
                CHECK(count == 2);
            }
            if (enough)
                enough = GC_get_gc_no() + 5;
        }
    } while (time(NULL) < begin + 3 || !done || GC_get_gc_no() < enough);
    stop = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    walk();
    for (int i = 0; i < count; i++) {
        char text[4];
        CHECK(pread(replaced[i], text, 4, 0) == 4 && memcmp(text, "mine", 4) == 0);
    }
    printf("collections %lu\n", GC_get_gc_no());
    return 0;
}
