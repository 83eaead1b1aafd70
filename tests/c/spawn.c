/* vfork + exec, posix_spawn, system, popen; also while other threads allocate and the collector runs. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;
static volatile int stop;

static void *work(void *argument)
{
    while (!stop) {
        free(malloc(100 + (size_t)(uintptr_t)argument));
        if (argument && dunegc_collect)
            dunegc_collect();
    }
    return NULL;
}

static void by_vfork(void)
{
    char *const arguments[] = {"sh", "-c", "exit 7", NULL};
    int status;
    char *before = malloc(100);
    strcpy(before, "kept over vfork");
    pid_t pid = vfork();
    if (pid == 0) {
        execv("/bin/sh", arguments);
        _exit(99);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(strcmp(before, "kept over vfork") == 0);
    free(before);
    pid = vfork();
    if (pid == 0) {
        execv("/no/such/program", arguments);
        _exit(44);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 44);
}

static void by_spawn(void)
{
    char *const arguments[] = {"sh", "-c", "cat >/dev/null; exit 5", NULL};
    posix_spawn_file_actions_t actions;
    int status;
    pid_t pid;
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0) == 0);
    CHECK(posix_spawn(&pid, "/bin/sh", &actions, NULL, arguments, environ) == 0);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    CHECK(posix_spawnp(&pid, "no-such-program", NULL, NULL, arguments, environ) == ENOENT);
}

static void by_shell(void)
{
    char line[100];
    CHECK(system("exit 3") == 3 << 8);
    FILE *pipe = popen("echo from the child", "r");
    CHECK(pipe && fgets(line, sizeof line, pipe) && strcmp(line, "from the child\n") == 0);
    CHECK(pclose(pipe) == 0);
}

/* A new image inherits the mask; the library must not have left one. */
static void check_mask(void)
{
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
    for (int signal = 1; signal <= SIGRTMAX; signal++)
        CHECK(sigismember(&mask, signal) != 1);
}

int main(int argc, char **argv)
{
    pthread_t threads[2];
    if (argc > 1 && !strcmp(argv[1], "exec-self")) {
        check_mask();
        puts("ok");
        return 0;
    }
    for (int i = 0; i < 20; i++) {
        by_vfork();
        by_spawn();
        by_shell();
    }
    for (uintptr_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < 20; i++) {
        by_vfork();
        by_spawn();
        by_shell();
    }
    if (argc > 1 && !strcmp(argv[1], "exec-running")) {
        /* The threads still run when the image is replaced. */
        execl(argv[0], argv[0], "exec-self", NULL);
        CHECK(!"execl returns");
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    puts("ok");
    return 0;
}
