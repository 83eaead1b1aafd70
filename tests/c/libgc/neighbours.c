/* Memory that happens to lie behind a mapped file is no root; the zeroed data behind a program's own file is. */
#include "oracle.h"
#include <fcntl.h>
#include <sys/mman.h>

/* Large: its pages are the kernel's, not the file's. */
static void *zeroed[1 << 17];

NOINLINE static void fill(void **place, struct watch *watch)
{
    for (int i = 0; i < WATCHED; i++)
        watch_add(watch, place[i * 8] = GC_MALLOC(40));
}

int main(void)
{
    GC_INIT();
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 8 * page;
    int file = open("/proc/self/exe", O_RDONLY);
    /* A page without access stays at the end: the kernel joins neighbours. */
    char *place = mmap(NULL, 2 * page + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (file < 0 || place == MAP_FAILED || mmap(place, page, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED
        || mprotect(place + page, size, PROT_READ | PROT_WRITE) != 0)
        return 1;
    close(file);
    struct watch behind, own, end;
    watch_start(&behind);
    watch_start(&own);
    watch_start(&end);
    fill((void **)(place + page), &behind);
    fill(zeroed, &own);
    fill(zeroed + (1 << 17) - WATCHED * 8, &end);
    collect();
    say("behind a file: %s", watch_amount(&behind));
    say("own: %s, at its end: %s", watch_amount(&own), watch_amount(&end));
    return 0;
}
