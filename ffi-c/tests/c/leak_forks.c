// Forks children that leak the same and report it at their exit, one after the other; after the first the program's file is gone.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) static void leak(size_t n) {
    volatile char *p = malloc(n);
    p[0] = 1;
}
__attribute__((noinline)) static void wipe(void) {
    volatile char stack[8192];
    for (unsigned i = 0; i < sizeof stack; i++) stack[i] = 0;
}
int main(int argc, char **argv) {
    (void)argc;
    for (int i = 0; i < 3; i++) {
        if (fork() == 0) {
            leak(2000);
            wipe();
            exit(0);
        }
        int status;
        if (wait(&status) < 0 || status != 0) return 1;
        if (i == 0) unlink(argv[0]);
    }
    puts("ok");
    return 0;
}
