/* Where pointers are looked for: added, removed and excluded ranges, what the program pushes itself, and where not. */
#include "oracle.h"
#include <gc/gc_mark.h>
#include <sys/mman.h>

enum { OBJECTS = 100 };
static struct watch watch;
static void *excluded[OBJECTS + 8];
static void *included[OBJECTS + 8];

static void fill(void **where)
{
    watch_fill(&watch, where, OBJECTS);
}

static void tell(const char *name)
{
    watch_tell(&watch, name);
}

static GC_push_other_roots_proc before;
static void **pushed;
static int pushes;
static void GC_CALLBACK push(void)
{
    pushes++;
    if (pushed)
        GC_push_all(pushed, pushed + OBJECTS);
    if (before)
        before();
}

static void GC_CALLBACK push_eager(void)
{
    if (pushed)
        GC_push_all_eager(pushed, pushed + OBJECTS);
    if (before)
        before();
}

static void GC_CALLBACK push_conditional(void)
{
    if (pushed)
        GC_push_conditional(pushed, pushed + OBJECTS, 1);
    if (before)
        before();
}

int main(void)
{
    GC_INIT();
    fill(included);
    tell("static data");
    memset(included, 0, sizeof included);
    tell("cleared");

    void **block = malloc(OBJECTS * sizeof *block);
    fill(block);
    tell("malloc");
    fill(block);
    GC_add_roots(block, block + OBJECTS);
    tell("malloc, added");
    GC_remove_roots(block, block + OBJECTS);
    tell("malloc, removed");

    void **map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(map);
    tell("mapping");
    fill(map);
    GC_add_roots((char *)map, (char *)map + 65536);
    GC_add_roots((char *)map, (char *)map + 65536);
    tell("mapping, added twice");
    memset(map, 0, 65536);
    tell("mapping, cleared");
    GC_remove_roots((char *)map, (char *)map + 65536);

    /* A hole in static data. */
    GC_exclude_static_roots(excluded, excluded + OBJECTS);
    fill(excluded);
    tell("excluded");
    fill(included);
    tell("beside it");
    memset(included, 0, sizeof included);

    before = GC_get_push_other_roots();
    GC_set_push_other_roots(push);
    say("procedure: %d", GC_get_push_other_roots() == push);
    fill(map);
    tell("not pushed");
    fill(map);
    pushed = map;
    tell("pushed");
    say("called: %d", pushes >= 3);
    GC_set_push_other_roots(push_eager);
    tell("pushed eagerly");
    GC_set_push_other_roots(push_conditional);
    tell("pushed conditionally");
    pushed = NULL;
    tell("no more");
    GC_set_push_other_roots(before);

    /* From the heap, whatever the depth. */
    watch_start(&watch);
    void **chain = NULL;
    for (int i = 0; i < WATCHED; i++) {
        void **next = GC_MALLOC(16);
        *next = chain;
        chain = next;
        watch_add(&watch, next);
    }
    included[0] = chain;
    chain = NULL;
    tell("chain");
    included[0] = NULL;
    tell("chain dropped");
    /* Pointers in objects that are not scanned, and unaligned ones, keep nothing. */
    included[0] = GC_MALLOC_ATOMIC(OBJECTS * sizeof(void *));
    fill(included[0]);
    tell("in an atomic object");
    included[0] = GC_MALLOC((OBJECTS + 1) * sizeof(void *));
    watch_start(&watch);
    for (int i = 0; i < OBJECTS; i++) {
        void *object = GC_MALLOC(64);
        memcpy((char *)included[0] + 8 * i + 4, &object, 4);
        watch_add(&watch, object);
    }
    tell("not aligned");
    return 0;
}
