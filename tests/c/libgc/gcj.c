/* Objects whose first word leads to a descriptor. */
#include "oracle.h"
#include <gc/gc_gcj.h>
#include <gc/gc_mark.h>

enum { OBJECTS = 100 };
struct table {
    void *unused;
    GC_word descriptor;
};
struct object {
    struct table *table;
    void *first, *second, *third;
};
static struct table lengths, bitmap, procedure;
static struct watch watches[3];
static long calls;

static struct GC_ms_entry *mark(GC_word *words, struct GC_ms_entry *top, struct GC_ms_entry *limit, GC_word environment)
{
    struct object *object = environment == 1 ? GC_USR_PTR_FROM_BASE(words) : (void *)words;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (object->table == NULL)
        return top;
    return GC_MARK_AND_PUSH(object->second, top, limit, &object->second);
}

NOINLINE static void fill(struct object **where, struct table *table, int off_page)
{
    for (int w = 0; w < 3; w++)
        watch_start(&watches[w]);
    for (int i = 0; i < OBJECTS; i++) {
        struct object *object = off_page ? GC_GCJ_MALLOC_IGNORE_OFF_PAGE(sizeof *object, table)
                                         : GC_GCJ_MALLOC(sizeof *object, table);
        if (object->table != table || object->first || object->third)
            say("not set up");
        where[i] = object;
        void **fields = &object->first;
        for (int w = 0; w < 3; w++) {
            fields[w] = GC_MALLOC(48);
            watch_add(&watches[w], fields[w]);
        }
    }
    clear_stack();
}

int main(void)
{
    GC_INIT();
    GC_init_gcj_malloc(GC_GCJ_RESERVED_MARK_PROC_INDEX, (void *)mark);
    struct object **holder = GC_MALLOC_UNCOLLECTABLE(OBJECTS * sizeof *holder);
    lengths.descriptor = 3 * sizeof(void *) | GC_DS_LENGTH;
    bitmap.descriptor = (GC_word)1 << 60 | GC_DS_BITMAP;
    procedure.descriptor = GC_MAKE_PROC(GC_GCJ_RESERVED_MARK_PROC_INDEX, (GC_word)0);
    struct table *tables[] = {&lengths, &bitmap, &procedure};
    for (int t = 0; t < 3; t++)
        for (int off_page = 0; off_page < 2; off_page++) {
            fill(holder, tables[t], off_page);
            collect();
            say("table %d: %s, %s, %s", t, watch_amount(&watches[0]), watch_amount(&watches[1]), watch_amount(&watches[2]));
        }
    say("called: %d", calls > 0);
    say("kind: %d", GC_get_kind_and_size(holder[0], NULL) == GC_gcj_kind);
    struct object *debug = GC_debug_gcj_malloc(sizeof *debug, &procedure, "gcj.c", 66);
    say("debug: %d", debug->table == &procedure && debug->first == NULL);
    GC_reachable_here(debug);
    return 0;
}
