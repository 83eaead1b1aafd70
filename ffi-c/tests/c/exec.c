// Every function of the exec family, in forked children; a failing one returns and leaves the heap usable.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static int run(int which, int by_vfork) {
    char *argv[] = {"sh", "-c", "test \"$1$2$3$4$5$6$7\" = abcdefg && test \"$MARK\" = yes", "x", "a", "b", "c", "d", "e", "f", "g", 0};
    char *envp[] = {"MARK=yes", "PATH=/bin:/usr/bin", 0};
    setenv("MARK", "yes", 1);
    int fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    pid_t pid = by_vfork ? vfork() : fork();
    if (pid == 0) {
        switch (which) {
        case 0: execve("/bin/sh", argv, envp); break;
        case 1: execv("/bin/sh", argv); break;
        case 2: execvp("sh", argv); break;
        case 3: execvpe("sh", argv, envp); break;
        case 4: fexecve(fd, argv, envp); break;
        case 5: execveat(AT_FDCWD, "/bin/sh", argv, envp, 0); break;
        case 6: execl("/bin/sh", "sh", "-c", argv[2], "x", "a", "b", "c", "d", "e", "f", "g", (char *)0); break;
        case 7: execlp("sh", "sh", "-c", argv[2], "x", "a", "b", "c", "d", "e", "f", "g", (char *)0); break;
        case 8: execle("/bin/sh", "sh", "-c", argv[2], "x", "a", "b", "c", "d", "e", "f", "g", (char *)0, envp); break;
        }
        _exit(99);
    }
    close(fd);
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}
int main(void) {
    for (int v = 0; v < 2; v++)
        for (int i = 0; i < 9; i++) {
            int s = run(i, v);
            if (s) { printf("form %d vfork %d: status %x\n", i, v, s); return 1; }
            free(malloc(100000));
        }
    for (int i = 0; i < 3; i++) {
        errno = 0;
        int r = i == 0 ? execl("/nonexistent", "a", "b", (char *)0) : i == 1 ? execv("/", environ) : execlp("no such program", "a", (char *)0);
        if (r != -1 || !errno) { printf("failing form %d: %d %d\n", i, r, errno); return 1; }
        char *p = malloc(1000);
        memset(p, 1, 1000);
        free(p);
    }
    puts("ok");
    return 0;
}
