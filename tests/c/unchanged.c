/* Prints what a program can see of its surroundings; the library must not change it. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

static void *none(void *unused) { return unused; }

int main(void)
{
    struct sigaction action;
    sigset_t blocked, pending;
    pthread_t thread;
    char name[32] = "";
    for (int i = 0; i < 1000; i++)
        free(malloc(100));
    collect();
    CHECK(pthread_create(&thread, NULL, none, NULL) == 0 && pthread_join(thread, NULL) == 0);
    /* The lowest free descriptor, as daemons and shells rely on. */
    printf("descriptor %d\n", open("/dev/null", O_RDONLY));
    for (int signal = 1; signal < SIGRTMIN; signal++) {
        if (signal == 32 || signal == 33)
            continue;
        CHECK(sigaction(signal, NULL, &action) == 0);
        if (action.sa_handler != SIG_DFL)
            printf("signal %d is handled\n", signal);
    }
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && sigpending(&pending) == 0);
    for (int signal = 1; signal <= SIGRTMAX; signal++)
        if (sigismember(&blocked, signal) == 1 || sigismember(&pending, signal) == 1)
            printf("signal %d is blocked or pending\n", signal);
    stack_t stack;
    CHECK(sigaltstack(NULL, &stack) == 0);
    printf("alternate stack %s\n", stack.ss_flags & SS_DISABLE ? "none" : "set");
    prctl(PR_GET_NAME, name);
    printf("name %s\nerrno %d\n", name, (errno = 0, free(malloc(10)), errno));
    printf("locale %s\n", getenv("LC_ALL"));
    puts("ok");
    return 0;
}
