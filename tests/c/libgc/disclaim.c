/* Objects that are asked before they are reclaimed, and finalized allocation. */
#include "oracle.h"
#include <gc/gc_disclaim.h>
#include <gc/gc_mark.h>

enum { OBJECTS = 200 };
struct object {
    long magic;
    long refusals;
    struct object *next;
};
static long asked, refused, wrong, finalized;

/* Free memory has no magic number; the odd ones are kept for one collection more. */
static int GC_CALLBACK disclaim(void *p)
{
    struct object *object = p;
    if (object->magic != 0x4d41474943)
        return 0;
    asked++;
    if (object->next && object->next->magic != 0x4d41474943)
        wrong++;
    if (object->refusals > 0) {
        object->refusals--;
        refused++;
        return 1;
    }
    object->magic = 0;
    return 0;
}

NOINLINE static void make(int kind, long refusals, int chained)
{
    struct object *next = NULL;
    for (int i = 0; i < OBJECTS; i++) {
        struct object *object = GC_generic_malloc(sizeof *object, kind);
        object->magic = 0x4d41474943;
        object->refusals = refusals;
        object->next = next;
        next = chained && i % 10 ? object : NULL;
    }
    clear_stack();
}

/* Reclaiming is lazy: allocate until everything is swept. */
NOINLINE static void sweep(int kind)
{
    collect();
    for (int i = 0; i < 4 * OBJECTS; i++)
        GC_generic_malloc(sizeof(struct object), kind);
    collect();
    for (int i = 0; i < 4 * OBJECTS; i++)
        GC_generic_malloc(sizeof(struct object), kind);
    collect();
}

static void GC_CALLBACK finalize(void *object, void *data)
{
    long *counter = data;
    finalized += *(long *)object == 77;
    ++*counter;
}

static long counter;
static const struct GC_finalizer_closure closure = {finalize, &counter};

NOINLINE static void make_finalized(void)
{
    for (int i = 0; i < OBJECTS; i++) {
        long *object = GC_finalized_malloc(40, &closure);
        if (object[0] || object[4])
            say("not cleared");
        object[0] = 77;
    }
    clear_stack();
}

int main(void)
{
    GC_INIT();
    int kind = (int)GC_new_kind(GC_new_free_list(), 0, 1, 1);
    GC_register_disclaim_proc(kind, disclaim, 0);
    make(kind, 0, 0);
    sweep(kind);
    say("asked: %s", amount(asked, OBJECTS));
    asked = refused = 0;
    make(kind, 1, 0);
    sweep(kind);
    sweep(kind);
    say("refused: %s, asked: %d", amount(refused, OBJECTS), asked > refused);
    int marking = (int)GC_new_kind(GC_new_free_list(), 0, 1, 1);
    GC_register_disclaim_proc(marking, disclaim, 1);
    asked = refused = wrong = 0;
    make(marking, 0, 1);
    for (int i = 0; i < 12; i++)
        sweep(marking);
    say("chained: %d, too early: %ld", asked > 0 && asked <= OBJECTS, wrong);
    /* Explicitly freed objects are not asked. */
    asked = 0;
    for (int i = 0; i < 10; i++) {
        struct object *object = GC_generic_malloc(sizeof *object, kind);
        object->magic = 0x4d41474943;
        GC_free(object);
    }
    say("freed: asked %ld", asked);
    GC_init_finalized_malloc();
    GC_init_finalized_malloc();
    make_finalized();
    collect();
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 4 * OBJECTS; j++)
            GC_finalized_malloc(40, &closure);
        collect();
    }
    say("finalized: %s, data: %d", amount(finalized, OBJECTS), counter >= finalized);
    long *one = GC_finalized_malloc(24, &closure);
    say("base: %ld, size: %d", (long)((char *)one - (char *)GC_base(one)), GC_size(GC_base(one)) >= 32);
    GC_reachable_here(one);
    return 0;
}
