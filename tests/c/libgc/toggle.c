/* Toggle references: a function of the program decides before each collection what is held. */
#include "oracle.h"

enum { OBJECTS = 100 };
struct object {
    GC_ToggleRefStatus wanted;
    long payload;
};
static struct watch watch;
static long asked;

static GC_ToggleRefStatus GC_CALLBACK decide(void *object)
{
    asked++;
    return ((struct object *)object)->wanted;
}

NOINLINE static void make(GC_ToggleRefStatus wanted, int strong)
{
    watch_start(&watch);
    int refused = 0;
    for (int i = 0; i < OBJECTS; i++) {
        struct object *object = GC_MALLOC(sizeof *object);
        object->wanted = wanted;
        watch_add(&watch, object);
        refused += GC_toggleref_add(object, strong) != GC_SUCCESS;
    }
    if (refused)
        say("refused");
    clear_stack();
}

NOINLINE static void change(GC_ToggleRefStatus wanted)
{
    for (int i = 0; i < watch.count; i++)
        if (watch.hidden[i])
            ((struct object *)reveal(watch.hidden[i]))->wanted = wanted;
    clear_stack();
}

int main(void)
{
    GC_INIT();
    say("unset: %d", GC_get_toggleref_func() == NULL);
    GC_set_toggleref_func(decide);
    say("set: %d", GC_get_toggleref_func() == decide);
    make(GC_TOGGLE_REF_STRONG, 1);
    collect();
    say("strong: %s, asked: %d", watch_amount(&watch), asked >= OBJECTS);
    change(GC_TOGGLE_REF_WEAK);
    collect();
    say("turned weak: %s", watch_amount(&watch));
    make(GC_TOGGLE_REF_WEAK, 0);
    change(GC_TOGGLE_REF_STRONG);
    collect();
    say("turned strong: %s", watch_amount(&watch));
    change(GC_TOGGLE_REF_DROP);
    collect();
    say("dropped: %s", watch_amount(&watch));
    make(GC_TOGGLE_REF_WEAK, 1);
    collect();
    say("weak at once: %s", watch_amount(&watch));
    make(GC_TOGGLE_REF_DROP, 1);
    collect();
    say("dropped at once: %s", watch_amount(&watch));
    long before = asked;
    collect();
    say("asked for those that are gone: %s", amount(asked - before, 3 * OBJECTS));
    return 0;
}
