/* Finalizers: order, the five flavours, data, replacement, resurrection, on demand, notifier, and cycles. */
#include "oracle.h"
#include <gc/javaxfc.h>

enum { OBJECTS = 100 };
struct node {
    struct node *next, *other;
    long number, generation;
};
/* Objects of cycles stay, and may be finalized in a later test: each test counts its own. */
static long generation;
static long ran, ran_before_next;
static char state[OBJECTS * 2];

static void GC_CALLBACK count(void *object, void *data)
{
    (void)data;
    ran += ((struct node *)object)->generation == generation;
}

/* Notes whether the object that this one refers to was finalized before it. */
static void GC_CALLBACK in_order(void *object, void *data)
{
    struct node *node = object;
    (void)data;
    if (node->generation != generation)
        return;
    ran++;
    state[node->number] = 1;
    if (node->next && state[node->next->number])
        ran_before_next++;
}

typedef void registration(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);

NOINLINE static void make(registration *add, int loops, int self, int chain)
{
    for (int i = 0; i < OBJECTS; i++) {
        struct node *node = GC_MALLOC(sizeof *node), *second = NULL;
        node->number = i;
        node->generation = generation;
        if (self)
            node->other = node;
        if (chain || loops) {
            second = GC_MALLOC(sizeof *node);
            second->number = i + OBJECTS;
            second->generation = generation;
            node->next = second;
            if (loops)
                second->other = node;
            add(second, in_order, NULL, NULL, NULL);
        }
        add(node, in_order, NULL, NULL, NULL);
    }
    clear_stack();
}

/* `rounds` collections with finalization after each; prints how many ran in each. */
static void run(const char *name, registration *add, int loops, int self, int chain)
{
    int ordered = add != GC_register_finalizer_no_order;
    ran = ran_before_next = 0;
    generation++;
    memset(state, 0, sizeof state);
    make(add, loops, self, chain);
    long after[3];
    for (int i = 0; i < 3; i++) {
        clear_stack();
        GC_gcollect();
        GC_invoke_finalizers();
        after[i] = ran;
    }
    long total = chain || loops ? 2 * OBJECTS : OBJECTS;
    say("%s: first %s, in the end %s of %ld, out of order: %s", name, amount(after[0], total), amount(after[2], total), total,
        ordered ? amount(ran_before_next, OBJECTS) : "of no order");
}

static struct node *saved[OBJECTS];
static void GC_CALLBACK resurrect(void *object, void *data)
{
    long *slot = data;
    saved[*slot] = object;
    ran++;
}

static void GC_CALLBACK again(void *object, void *data)
{
    ran++;
    if (ran <= 3 * OBJECTS)
        GC_register_finalizer(object, again, data, NULL, NULL);
}

static void GC_CALLBACK allocate(void *object, void *data)
{
    char *volatile garbage = NULL;
    (void)object;
    (void)data;
    for (int i = 0; i < 50; i++)
        garbage = GC_MALLOC(1000);
    (void)garbage;
    if (ran % 10 == 0)
        GC_gcollect();
    ran++;
}

NOINLINE static void make_simple(GC_finalization_proc fn, int with_slots)
{
    for (int i = 0; i < OBJECTS; i++) {
        long *slot = NULL;
        if (with_slots) {
            slot = GC_MALLOC_ATOMIC(sizeof *slot);
            *slot = i;
        }
        struct node *node = GC_MALLOC(sizeof *node);
        node->number = i;
        node->generation = generation;
        GC_register_finalizer(node, fn, slot, NULL, NULL);
    }
    clear_stack();
}

static int notified, awaited;
static void GC_CALLBACK notify(void) { notified++; }
static void GC_CALLBACK await(void *object)
{
    awaited += object != NULL;
}

NOINLINE static void replace(void)
{
    struct node *node = GC_MALLOC(sizeof *node);
    GC_finalization_proc old = resurrect;
    void *data = node;
    GC_register_finalizer(node, count, &ran, &old, &data);
    say("first: %d %d", old == NULL, data == NULL);
    GC_register_finalizer_no_order(node, again, NULL, &old, &data);
    say("replaced: %d %d", old == count, data == &ran);
    GC_register_finalizer(node, NULL, NULL, &old, &data);
    say("removed: %d %d", old == again, data == NULL);
    GC_register_finalizer(node, NULL, NULL, &old, &data);
    say("nothing to remove: %d %d", old == NULL, data == NULL);
    int local;
    old = count;
    data = &local;
    GC_register_finalizer(&local, count, NULL, &old, &data);
    say("not on the heap: %d %d", old == NULL, data == NULL);
}

NOINLINE static struct node *reachable(void)
{
    struct node *node = GC_MALLOC(sizeof *node);
    node->generation = generation;
    GC_register_finalizer(node, count, NULL, NULL, NULL);
    return node;
}

int main(void)
{
    GC_INIT();
    GC_set_finalize_on_demand(1);
    say("on demand: %d, java: %d", GC_get_finalize_on_demand(), GC_get_java_finalization());
    run("plain", GC_register_finalizer, 0, 0, 0);
    run("plain, self", GC_register_finalizer, 0, 1, 0);
    run("plain, chain", GC_register_finalizer, 0, 0, 1);
    run("plain, cycle", GC_register_finalizer, 1, 0, 0);
    run("ignore_self, self", GC_register_finalizer_ignore_self, 0, 1, 0);
    run("ignore_self, chain", GC_register_finalizer_ignore_self, 0, 1, 1);
    run("ignore_self, cycle", GC_register_finalizer_ignore_self, 1, 0, 0);
    run("no_order, self", GC_register_finalizer_no_order, 0, 1, 0);
    run("no_order, chain", GC_register_finalizer_no_order, 0, 0, 1);
    run("no_order, cycle", GC_register_finalizer_no_order, 1, 0, 0);
    replace();

    ran = 0;
    generation++;
    make_simple(resurrect, 1);
    settle();
    long intact = 0;
    for (int i = 0; i < OBJECTS; i++)
        intact += saved[i] && saved[i]->number == i && GC_base(saved[i]) == saved[i];
    say("resurrected: %s, intact: %d", amount(ran, OBJECTS), intact == ran);
    memset(saved, 0, sizeof saved);
    settle();
    say("finalized once: %d", ran <= OBJECTS);
    ran = 0;
    generation++;
    make_simple(again, 0);
    for (int i = 0; i < 4; i++)
        settle();
    say("again: %d", ran >= 3 * OBJECTS && ran <= 4 * OBJECTS);
    ran = 0;
    generation++;
    make_simple(allocate, 0);
    settle();
    say("allocating: %s", amount(ran, OBJECTS));

    /* On demand: nothing runs before it is asked for, and the notifier tells. */
    GC_set_finalizer_notifier(notify);
    GC_set_await_finalize_proc(await);
    say("notifier: %d, await: %d", GC_get_finalizer_notifier() == notify, GC_get_await_finalize_proc() == await);
    ran = 0;
    generation++;
    make_simple(count, 0);
    collect();
    for (int i = 0; i < 1000; i++)
        GC_MALLOC(100);
    say("before: ran %ld, should %d, notified %d, awaited %s", ran, GC_should_invoke_finalizers() != 0, notified > 0,
        amount(awaited, OBJECTS));
    int invoked = GC_invoke_finalizers();
    say("invoked: %d, %s", invoked == ran, amount(ran, OBJECTS));
    say("then: should %d, ran %d", GC_should_invoke_finalizers() != 0, GC_invoke_finalizers());
    GC_set_await_finalize_proc(NULL);
    GC_set_finalizer_notifier(NULL);

    /* Not on demand: allocation and collection run them. */
    GC_set_finalize_on_demand(0);
    ran = 0;
    generation++;
    make_simple(count, 0);
    collect();
    for (int i = 0; i < 1000; i++)
        GC_MALLOC(100);
    say("without demand: %s", amount(ran, OBJECTS));

    /* Java's rules: the unreachable flavour waits for the unordered. */
    GC_set_finalize_on_demand(1);
    GC_set_java_finalization(1);
    say("java: %d", GC_get_java_finalization());
    run("java, plain chain", GC_register_finalizer, 0, 0, 1);
    run("java, no_order cycle", GC_register_finalizer_no_order, 1, 0, 0);
    run("java, unreachable", GC_register_finalizer_unreachable, 0, 0, 0);
    run("java, unreachable chain", GC_register_finalizer_unreachable, 0, 0, 1);
    run("java, unreachable cycle", GC_register_finalizer_unreachable, 1, 0, 0);

    /* At the end, reachable objects too. */
    struct node *volatile last = reachable();
    ran = 0;
    settle();
    GC_finalize_all();
    say("finalize_all: %d", ran >= 1);
    GC_reachable_here(last);
    return 0;
}
