/* malloc and its family replaced by leak_detector.h. */
#include <gc/leak_detector.h>
#include <stdio.h>
#include <string.h>

__attribute__((noinline)) static void work(void)
{
    for (int i = 0; i < 20; i++) {
        char *lost = malloc(40);
        strcpy(lost, "lost");
        char *array = calloc(10, 8);
        for (int j = 0; j < 80; j++)
            if (array[j])
                printf("not cleared\n");
        array = realloc(array, 400);
        free(array);
        char *copy = strdup("copy");
        free(copy);
    }
}

__attribute__((noinline)) static void clear(void)
{
    volatile char deep[32768];
    for (unsigned i = 0; i < sizeof deep; i++)
        deep[i] = 0;
}

int main(void)
{
    GC_set_find_leak(1);
    GC_INIT();
    for (int i = 0; i < 3; i++)
        work();
    clear();
    CHECK_LEAKS();
    clear();
    CHECK_LEAKS();
    printf("done\n");
    return 0;
}
