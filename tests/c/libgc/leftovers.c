/* What functions that have returned left on the stack does not keep objects over GC_gcollect: the collector's own frames lie there. */
#include "oracle.h"

NOINLINE static void leave(struct watch *watch)
{
    void *volatile objects[WATCHED];
    for (int i = 0; i < WATCHED; i++)
        watch_add(watch, objects[i] = GC_MALLOC(40));
    __asm__ volatile("" : : "r"(objects) : "memory");
}

int main(void)
{
    GC_INIT();
    int most = 0;
    for (int round = 0; round < 5; round++) {
        struct watch watch;
        watch_start(&watch);
        leave(&watch);
        GC_gcollect();
        int alive = watch_alive(&watch);
        most = alive > most ? alive : most;
        collect();
    }
    say("kept at most: %d", most);
    return 0;
}
