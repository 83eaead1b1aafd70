/* Without interior pointers: a pointer into an object keeps it only at a registered displacement, or from the stack. */
#include "oracle.h"

enum { OBJECTS = 200, OFFSETS = 6 };
static const int offsets[OFFSETS] = {0, 8, 16, 24, 40, 4};
static char **holder[OFFSETS];
static struct watch watches[OFFSETS];

NOINLINE static void fill(void)
{
    for (int o = 0; o < OFFSETS; o++) {
        watch_start(&watches[o]);
        holder[o] = GC_malloc_uncollectable(OBJECTS * sizeof(char *));
        for (int i = 0; i < OBJECTS; i++) {
            char *object = GC_malloc(64);
            watch_add(&watches[o], object);
            holder[o][i] = object + offsets[o];
        }
    }
}

/* Objects that only a frame of the stack points into. */
NOINLINE static void on_the_stack(void)
{
    char *volatile frame[OBJECTS];
    struct watch watch;
    watch_start(&watch);
    for (int i = 0; i < OBJECTS; i++) {
        char *object = GC_malloc(64);
        watch_add(&watch, object);
        frame[i] = object + 33;
    }
    __asm__ volatile("" : : "r"(frame) : "memory");
    GC_gcollect();
    GC_gcollect();
    say("from the stack: %s", watch_amount(&watch));
    for (int i = 0; i < OBJECTS; i++)
        frame[i] = NULL;
}

int main(void)
{
    GC_set_all_interior_pointers(0);
    GC_INIT();
    GC_register_displacement(8);
    say("interior pointers: %d", GC_get_all_interior_pointers());
    fill();
    collect();
    for (int o = 0; o < OFFSETS; o++)
        say("offset %d: %s", offsets[o], watch_amount(&watches[o]));
    GC_register_displacement(24);
    GC_register_displacement(0);
    fill();
    collect();
    for (int o = 0; o < OFFSETS; o++)
        say("offset %d: %s", offsets[o], watch_amount(&watches[o]));
    on_the_stack();
    return 0;
}
