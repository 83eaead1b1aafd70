/* trace CASE [FILE]: collections for the trace to show, and what a program can do to the trace's descriptor. */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Unreachable soon: in mode reclaim these cause collections. */
static void *lose(void *argument)
{
    void *volatile last = NULL;
    for (int i = 0; i < 100000; i++) {
        char *block = malloc(100);
        CHECK(block);
        block[0] = (char)i;
        last = block;
    }
    CHECK(last);
    return argument;
}

static void work(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, lose, NULL) == 0);
    for (int i = 0; i < 3; i++)
        collect();
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    collect();
    /* Alone: no collection that the program asked for comes before the one that growth causes. */
    lose(NULL);
}

/* The descriptor of the trace: the regular file open for appending whose name has `part` in it. */
static int trace_descriptor(const char *part)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int found = -1;
    CHECK(dir);
    while ((entry = readdir(dir))) {
        char name[300], target[4096];
        snprintf(name, sizeof name, "/proc/self/fd/%s", entry->d_name);
        ssize_t n = readlink(name, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = 0;
        int fd = atoi(entry->d_name);
        if (strstr(target, part) && fcntl(fd, F_GETFL) & O_APPEND)
            found = fd;
    }
    closedir(dir);
    return found;
}

static void in_child(void)
{
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        collect();
        exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    printf("child %d\n", (int)pid);
}

int main(int argc, char **argv)
{
    const char *test = argc > 1 ? argv[1] : "";
    if (!strcmp(test, "work")) {
        work();
    } else if (!strcmp(test, "fork")) {
        collect();
        in_child();
        in_child();
        collect();
    } else if (!strcmp(test, "kill")) {
        work();
        raise(SIGKILL);
    } else if (!strcmp(test, "descriptor")) {
        int fd = trace_descriptor(".json");
        CHECK(fd >= 100 && fcntl(fd, F_GETFD) & FD_CLOEXEC);
    } else if (!strcmp(test, "close")) {
        collect();
        CHECK(close_range(3, ~0U, 0) == 0);
        collect();
        CHECK(open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600) == 3 && write(3, "mine", 4) == 4);
        collect();
    } else if (!strcmp(test, "replace")) {
        collect();
        int trace = trace_descriptor(".json");
        int fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
        CHECK(trace >= 0 && fd >= 0 && dup2(fd, trace) == trace);
        collect();
        CHECK(write(trace, "mine", 4) == 4);
    } else if (!strcmp(test, "limit")) {
        collect();
        struct rlimit limit = {2000, 2000};
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        work();
    } else {
        CHECK(!"no such case");
    }
    puts("ok");
    return 0;
}
