/* Allocates before main (preinit_array, constructors) and after it (atexit, destructors). */
#include "check.h"

static struct item *early[100];

static void allocate(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv, (void)environment;
    for (int i = 0; i < 50; i++)
        early[i] = item_new(i);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **, char **) = allocate;

__attribute__((constructor(101))) static void first(void)
{
    for (int i = 50; i < 100; i++)
        early[i] = item_new(i);
    collect();
    free(realloc(calloc(10, 10), 1000));
}

static void verify(void)
{
    collect();
    overwrite_freed();
    for (int i = 0; i < 100; i++)
        CHECK(item_intact(early[i], i));
}

static void at_exit(void)
{
    verify();
    free(malloc(100000));
}

__attribute__((destructor(101))) static void last(void)
{
    verify();
    for (int i = 0; i < 100; i++)
        free(early[i]);
    free(malloc(10));
}

int main(void)
{
    verify();
    CHECK(atexit(at_exit) == 0);
    puts("ok");
    return 0;
}
