// Leaks 3 blocks of 100 bytes, a list of 5 cells, a cycle of two; keeps others by a global, a stack and a thread variable.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cell { struct cell *next; char fill[40]; };
void *kept;
static _Thread_local void *kept_by_thread;

__attribute__((noinline)) static struct cell *make_cell(struct cell *next) {
    struct cell *c = malloc(sizeof *c);
    memset(c, 0, sizeof *c);
    c->next = next;
    return c;
}
__attribute__((noinline)) static void leak_block(void) {
    volatile char *p = malloc(100);
    p[0] = 1;
}
__attribute__((noinline)) static void leak_list(void) {
    struct cell *head = 0;
    for (int i = 0; i < 5; i++) head = make_cell(head);
}
__attribute__((noinline)) static void leak_cycle(void) {
    struct cell *a = calloc(1, 1000), *b = calloc(1, 1000);
    a->next = b;
    b->next = a;
    __asm__ volatile("" : : "r"(a), "r"(b) : "memory");
}
__attribute__((noinline)) static void wipe(void) {
    volatile char stack[8192];
    for (unsigned i = 0; i < sizeof stack; i++) stack[i] = 0;
}
int main(int argc, char **argv) {
    kept = malloc(300);
    *(void **)kept = malloc(300);
    kept_by_thread = malloc(300);
    void *volatile local = malloc(300);
    free(malloc(500));
    if (argc < 2 || strcmp(argv[1], "none")) {
        for (volatile int i = 0; i < 3; i++) leak_block();
        leak_list();
        leak_cycle();
    }
    wipe();
    puts("ok");
    *(char *)local = 1;
    exit(7);
}
