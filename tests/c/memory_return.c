/* memory_return CASE: resident memory falls back after a spike. */
#include "check.h"
#include <time.h>

enum { MEGABYTE = 1 << 20, SPIKE = 500 };

static long resident_megabytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE) / MEGABYTE;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    const size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
    const int leak = argc > 2 && !strcmp(argv[2], "leak");
    const size_t count = (size_t)SPIKE * MEGABYTE / size;
    void **blocks = malloc(count * sizeof *blocks);
    CHECK(blocks);
    const long before = resident_megabytes();
    for (size_t i = 0; i < count; i++) {
        CHECK((blocks[i] = malloc(size)) != NULL);
        memset(blocks[i], 1, size);
    }
    const long spike = resident_megabytes();
    CHECK(spike >= before + SPIKE * 9 / 10);
    if (!leak)
        for (size_t i = 0; i < count; i++)
            free(blocks[i]);
    memset(blocks, 0, count * sizeof *blocks);
    free(blocks);
    if (leak)
        collect();
    /* The program runs on a little; it does not call the allocator's trim. */
    const double freed = now();
    long after;
    do {
        for (int i = 0; i < 1000; i++)
            free(malloc((size_t)(i % 200) + 1));
        usleep(20000);
        after = resident_megabytes();
    } while (now() - freed < 2.0 && after > before + 30);
    fprintf(stdout, "spike %ld MB, then %ld MB after %.2f s\n", spike, after, now() - freed);
    if (after > before + 30) {
        fprintf(stderr, "resident: %ld MB before, %ld MB at the spike, %ld MB after\n", before, spike, after);
        return 1;
    }
    puts("ok");
    return 0;
}
