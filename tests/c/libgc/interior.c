/* With interior pointers, the default: any address of an object keeps it, and the one just behind its last byte. */
#include "oracle.h"

enum { OBJECTS = 100 };
static char **holder;
static struct watch watch;

NOINLINE static void fill(size_t size, size_t offset, int atomic)
{
    watch_start(&watch);
    for (int i = 0; i < OBJECTS; i++) {
        char *object = atomic ? GC_malloc_atomic(size) : GC_malloc(size);
        watch_add(&watch, object);
        holder[i] = object + offset;
    }
}

int main(void)
{
    GC_INIT();
    say("interior pointers: %d", GC_get_all_interior_pointers());
    holder = GC_malloc_uncollectable(OBJECTS * sizeof *holder);
    static const size_t sizes[] = {8, 16, 24, 48, 64, 100, 256, 1000, 2048, 4096, 10000, 70000};
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t size = sizes[s], offsets[] = {0, 1, size / 2, size - 1, size};
        for (unsigned o = 0; o < sizeof offsets / sizeof *offsets; o++)
            for (int atomic = 0; atomic < 2; atomic++) {
                fill(size, offsets[o], atomic);
                collect();
                int kept = watch_alive(&watch);
                memset(holder, 0, OBJECTS * sizeof *holder);
                collect();
                if (kept != OBJECTS || atomic + o == 0)
                    say("size %zu offset %zu: kept %d, then %s", size, offsets[o], kept, watch_amount(&watch));
            }
    }
    return 0;
}
