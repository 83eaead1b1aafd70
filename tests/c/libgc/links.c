/* Disappearing and long links: registration, moves, when they are cleared, and what they say to finalizers. */
#include "oracle.h"

enum { OBJECTS = 100 };
static void **links, **long_links, **spare;
static void *kept[OBJECTS];
static long seen_cleared, seen_long, finalized;
static int resurrecting;

static void GC_CALLBACK finalize(void *object, void *data)
{
    long i = *(long *)data;
    finalized++;
    seen_cleared += links[i] == NULL;
    seen_long += long_links[i] != NULL;
    if (resurrecting)
        kept[i] = object;
}

NOINLINE static void make(int with_finalizer)
{
    for (int i = 0; i < OBJECTS; i++) {
        long *number = GC_MALLOC_ATOMIC(sizeof *number);
        *number = i;
        void *object = GC_MALLOC(40);
        /* Where a link of an earlier object is left, if that was kept. */
        GC_unregister_disappearing_link(&links[i]);
        GC_unregister_long_link(&long_links[i]);
        links[i] = (void *)hide(object);
        long_links[i] = (void *)hide(object);
        if (GC_general_register_disappearing_link(&links[i], object) || GC_register_long_link(&long_links[i], object))
            say("refused");
        if (with_finalizer)
            GC_register_finalizer(object, finalize, number, NULL, NULL);
    }
    clear_stack();
}

static int set(void **which)
{
    int count = 0;
    for (int i = 0; i < OBJECTS; i++)
        count += which[i] != NULL;
    return count;
}

NOINLINE static void calls(void)
{
    void *object = GC_MALLOC(40), *other = GC_MALLOC(40);
    void **link = GC_MALLOC_ATOMIC(16), **second = GC_MALLOC_ATOMIC(16);
    *link = (void *)hide(object);
    *second = NULL;
    /* One call a line: the order of arguments is the compiler's. */
    say("register: %d", GC_general_register_disappearing_link(link, object));
    say("again: %d", GC_general_register_disappearing_link(link, object));
    say("for another: %d", GC_general_register_disappearing_link(link, other));
    say("move: %d", GC_move_disappearing_link(link, second));
    *second = *link;
    say("move what is gone: %d", GC_move_disappearing_link(link, second));
    say("to itself: %d", GC_move_disappearing_link(second, second));
    say("unknown to itself: %d", GC_move_disappearing_link(link, link));
    say("register: %d", GC_general_register_disappearing_link(link, other));
    say("onto another: %d", GC_move_disappearing_link(second, link));
    say("unregister: %d", GC_unregister_disappearing_link(link));
    say("again: %d", GC_unregister_disappearing_link(link));
    say("the other: %d", GC_unregister_disappearing_link(second));
    say("long: %d", GC_register_long_link(link, object));
    say("again: %d", GC_register_long_link(link, object));
    say("is no short one: %d", GC_unregister_disappearing_link(link));
    say("move as short: %d", GC_move_disappearing_link(link, second));
    say("move: %d", GC_move_long_link(link, second));
    say("move what is gone: %d", GC_move_long_link(link, second));
    say("to itself: %d", GC_move_long_link(second, second));
    say("unregister long: %d", GC_unregister_long_link(second));
    say("again: %d", GC_unregister_long_link(second));
    say("NULL: %d", GC_unregister_disappearing_link(NULL));
    say("NULL: %d", GC_unregister_long_link(NULL));
    GC_reachable_here(object);
    GC_reachable_here(other);
}

/* Holders whose field is a link to what only the holder refers to: a cycle of finalizable objects that it breaks. */
static long holders, holders_cleared;
struct holder {
    struct holder *other;
};
static void GC_CALLBACK finalize_holder(void *object, void *data)
{
    (void)data;
    holders++;
    holders_cleared += ((struct holder *)object)->other == NULL;
}

NOINLINE static void make_cycles(void)
{
    for (int i = 0; i < OBJECTS; i++) {
        struct holder *a = GC_MALLOC(sizeof *a), *b = GC_MALLOC(sizeof *b);
        a->other = b;
        b->other = a;
        GC_register_finalizer(a, finalize_holder, NULL, NULL, NULL);
        GC_register_finalizer(b, finalize_holder, NULL, NULL, NULL);
        if (GC_register_disappearing_link((void **)&a->other))
            say("refused");
    }
    clear_stack();
}

/* Links that lie in objects which go themselves. */
NOINLINE static void make_abandoned(void)
{
    for (int i = 0; i < 1000; i++) {
        void *object = GC_MALLOC(40), **holder = GC_MALLOC_ATOMIC(16);
        *holder = (void *)hide(object);
        GC_general_register_disappearing_link(holder, object);
    }
    clear_stack();
}

int main(void)
{
    GC_INIT();
    GC_set_finalize_on_demand(1);
    links = GC_MALLOC_ATOMIC_UNCOLLECTABLE(OBJECTS * sizeof *links);
    long_links = GC_MALLOC_ATOMIC_UNCOLLECTABLE(OBJECTS * sizeof *links);
    spare = GC_MALLOC_ATOMIC_UNCOLLECTABLE(OBJECTS * sizeof *links);
    calls();

    make(0);
    say("made: %d %d", set(links), set(long_links));
    collect();
    say("unreachable: %s %s", amount(set(links), OBJECTS), amount(set(long_links), OBJECTS));

    /* With finalizers: short links go before, long links stay until the object is really gone. */
    resurrecting = 1;
    make(1);
    GC_gcollect();
    say("ready: links %s, long links %s", amount(set(links), OBJECTS), amount(set(long_links), OBJECTS));
    GC_invoke_finalizers();
    say("finalized: %s, links cleared before: %d, long links still set: %d", amount(finalized, OBJECTS),
        seen_cleared == finalized, seen_long == finalized);
    collect();
    say("resurrected: long links %s", amount(set(long_links), OBJECTS));
    memset(kept, 0, sizeof kept);
    settle();
    say("gone: long links %s", amount(set(long_links), OBJECTS));

    /* Moved links are cleared in their new place only; unregistered ones nowhere. */
    GC_disable();
    make(0);
    int moved = 0, removed = 0;
    for (int i = 0; i < OBJECTS; i++) {
        spare[i] = links[i];
        if (i % 2)
            moved += GC_move_disappearing_link(&links[i], &spare[i]) == GC_SUCCESS;
        else
            removed += GC_unregister_disappearing_link(&links[i]);
    }
    GC_enable();
    collect();
    say("moved %d, removed %d: old places %s, new places %d", moved, removed, amount(set(links), OBJECTS),
        set(spare) >= OBJECTS / 2 && set(spare) < OBJECTS * 6 / 10);

    make_cycles();
    settle();
    say("cycles: %s finalized, cleared %d", amount(holders, 2 * OBJECTS), holders_cleared >= OBJECTS * 9 / 10);
    for (int i = 0; i < 20; i++) {
        make_abandoned();
        collect();
    }
    say("abandoned links are forgotten");
    /* What is freed explicitly. */
    void *object = GC_MALLOC(40);
    links[0] = (void *)hide(object);
    GC_general_register_disappearing_link(&links[0], object);
    say("unregister before free: %d", GC_unregister_disappearing_link(&links[0]));
    GC_FREE(object);
    return 0;
}
