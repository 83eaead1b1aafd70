/* leaky CASE: 10 leaks of 111 bytes at one place, 3 of 2222 at another, and blocks that are reachable. */
#include "check.h"
#include <signal.h>

static void *volatile kept[100];

/* They write to the block, so that malloc is not called last and stays on the stack. */
NOINLINE void *first_leak(void)
{
    char *p = malloc(111);
    *p = 1;
    return p;
}

NOINLINE void *second_leak(void)
{
    char *p = calloc(1, 2222);
    *p = 1;
    return p;
}

NOINLINE void *reachable(void)
{
    char *p = malloc(333);
    *p = 1;
    return p;
}

NOINLINE static void leak(void)
{
    for (int i = 0; i < 10; i++)
        memset(first_leak(), 1, 111);
    for (int i = 0; i < 3; i++)
        memset(second_leak(), 2, 2222);
    for (int i = 0; i < 100; i++)
        kept[i] = reachable();
    clear_stack();
}

NOINLINE static void overwrite(void)
{
    for (int i = 0; i < 100; i++)
        free(malloc(100));
    clear_stack();
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "clean"))
        leak();
    overwrite();
    puts("standard output");
    if (!strcmp(name, "signal")) {
        fflush(stdout);
        raise(SIGUSR2);
        /* A collection may interrupt a sleep, which no SA_RESTART restarts. */
        for (int i = 0; i < 200; i++)
            usleep(10000);
        puts("after the signal");
        fflush(stdout);
        _exit(0);
    }
    return !strcmp(name, "fails") ? 3 : 0;
}
