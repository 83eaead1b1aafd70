/* Kinds of the program's own: length descriptors, mark procedures with an environment, descriptors in and behind the object. */
#include "oracle.h"
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>

enum { OBJECTS = 200 };
struct cell {
    void *first, *second, *third, *fourth;
};
static struct watch watches[4];
static long calls[4];

/* Follows only the field that the environment numbers. */
static struct GC_ms_entry *mark(GC_word *object, struct GC_ms_entry *top, struct GC_ms_entry *limit, GC_word environment)
{
    __atomic_add_fetch(&calls[environment], 1, __ATOMIC_RELAXED);
    return GC_MARK_AND_PUSH((void *)object[environment], top, limit, (void **)&object[environment]);
}

NOINLINE static void fill(struct cell **cells, int kind)
{
    for (int w = 0; w < 4; w++)
        watch_start(&watches[w]);
    for (int i = 0; i < OBJECTS; i++) {
        struct cell *cell = GC_generic_malloc(sizeof *cell, kind);
        void **fields = (void **)cell;
        for (int w = 0; w < 4; w++) {
            if (fields[w] != NULL)
                say("not cleared");
            fields[w] = GC_malloc(48);
            watch_add(&watches[w], fields[w]);
        }
        cells[i] = cell;
    }
}

static void try_kind(const char *name, int kind)
{
    struct cell **cells = GC_malloc_uncollectable(OBJECTS * sizeof *cells);
    fill(cells, kind);
    collect();
    say("%s: %s, %s, %s, %s", name, watch_amount(&watches[0]), watch_amount(&watches[1]), watch_amount(&watches[2]),
        watch_amount(&watches[3]));
    size_t size = 0;
    int same = GC_get_kind_and_size(cells[0], &size) == kind;
    say("kind kept: %d, size %d", same, size >= sizeof(struct cell));
    memset(cells, 0, OBJECTS * sizeof *cells);
    collect();
    say("then: %s, %s", watch_amount(&watches[0]), watch_amount(&watches[3]));
    GC_free(cells);
}

struct described {
    GC_word descriptor;
    void *first, *second, *third;
};
struct type {
    GC_word unused, descriptor;
};
struct typed {
    struct type *type;
    void *first, *second, *third;
};

NOINLINE static void fill_described(void **holder, int kind, GC_word first_word)
{
    for (int w = 0; w < 3; w++)
        watch_start(&watches[w]);
    for (int i = 0; i < OBJECTS; i++) {
        struct described *object = GC_generic_malloc(sizeof *object, kind);
        void **fields = &object->first;
        for (int w = 0; w < 3; w++) {
            fields[w] = GC_malloc(48);
            watch_add(&watches[w], fields[w]);
        }
        object->descriptor = first_word;
        holder[i] = object;
    }
}

static void count_object(void *object, size_t size, void *data)
{
    long *counts = data;
    (void)object;
    counts[0]++;
    counts[1] += size >= 777 && size < 900;
}

static void *enumerate(void *counts)
{
    GC_enumerate_reachable_objects_inner(count_object, counts);
    return counts;
}

static void *mark_bits(void *object)
{
    int before = GC_is_marked(object) != 0;
    GC_clear_mark_bit(object);
    int cleared = GC_is_marked(object) != 0;
    GC_set_mark_bit(object);
    say("mark bit: %d, %d, %d", before, cleared, GC_is_marked(object) != 0);
    return NULL;
}

int main(void)
{
    GC_INIT();
    unsigned first = GC_new_proc(mark), again = GC_new_proc(mark);
    say("procedures: %d %d", first >= GC_RESERVED_MARK_PROCS, again == first + 1);
    unsigned length = GC_new_kind(GC_new_free_list(), 0 | GC_DS_LENGTH, 1, 1);
    unsigned half = GC_new_kind(GC_new_free_list(), 16 | GC_DS_LENGTH, 0, 1);
    unsigned none = GC_new_kind(GC_new_free_list(), 0 | GC_DS_LENGTH, 0, 1);
    say("kinds differ: %d", half == length + 1 && none == half + 1);
    try_kind("normal", GC_I_NORMAL);
    try_kind("whole length", (int)length);
    try_kind("16 bytes", (int)half);
    try_kind("no bytes", (int)none);
    for (GC_word environment = 0; environment < 4; environment += 3) {
        unsigned kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC((GC_word)first, environment), 0, 1);
        try_kind(environment ? "procedure, last field" : "procedure, first field", (int)kind);
    }
    say("called: %d %d %d %d", calls[0] >= OBJECTS, calls[1] > 0, calls[2] > 0, calls[3] >= OBJECTS);
    GC_word top = (GC_word)1 << 63;
    unsigned bitmap = GC_new_kind(GC_new_free_list(), (top >> 1) | (top >> 3) | GC_DS_BITMAP, 0, 1);
    try_kind("bitmap", (int)bitmap);

    /* The descriptor in the object: the first and third field behind it. */
    void **holder = GC_malloc_uncollectable(OBJECTS * sizeof *holder);
    unsigned own = GC_new_kind(GC_new_free_list(), 0 | GC_DS_PER_OBJECT, 0, 1);
    fill_described(holder, (int)own, (top >> 1) | (top >> 3) | GC_DS_BITMAP);
    collect();
    say("in the object: %s, %s, %s", watch_amount(&watches[0]), watch_amount(&watches[1]), watch_amount(&watches[2]));
    fill_described(holder, (int)own, 16 | GC_DS_LENGTH);
    collect();
    say("length in the object: %s, %s, %s", watch_amount(&watches[0]), watch_amount(&watches[1]), watch_amount(&watches[2]));
    /* The descriptor behind the first word. */
    static struct type type;
    type.descriptor = (top >> 2) | GC_DS_BITMAP;
    GC_word offset = (GC_word)(-(GC_signed_word)(sizeof(GC_word)) - GC_INDIR_PER_OBJ_BIAS);
    unsigned indirect = GC_new_kind(GC_new_free_list(), offset | GC_DS_PER_OBJECT, 0, 1);
    fill_described(holder, (int)indirect, (GC_word)&type);
    collect();
    say("in the type: %s, %s, %s", watch_amount(&watches[0]), watch_amount(&watches[1]), watch_amount(&watches[2]));

    /* Objects that must be told from others by size alone. */
    for (int i = 0; i < OBJECTS; i++)
        holder[i] = GC_malloc(777);
    collect();
    long counts[2] = {0, 0};
    GC_call_with_alloc_lock(enumerate, counts);
    say("enumerated: %d, of one size: %s", counts[0] > OBJECTS, amount(counts[1], OBJECTS));
    GC_call_with_alloc_lock(mark_bits, holder[0]);

    /* Uncollectable objects, and the same kind again, of kinds of the program's own. */
    void *fixed = GC_generic_malloc_uncollectable(40, GC_I_NORMAL);
    say("uncollectable: %d", GC_get_kind_and_size(fixed, NULL) == GC_get_kind_and_size(GC_malloc_uncollectable(40), NULL));
    void *same = GC_generic_or_special_malloc(40, GC_get_kind_and_size(fixed, NULL));
    say("special: %d", GC_get_kind_and_size(same, NULL) == GC_get_kind_and_size(fixed, NULL));
    say("own: %d", GC_get_kind_and_size(GC_generic_or_special_malloc(40, (int)length), NULL) == (int)length);
    GC_free(fixed);
    void *list = NULL;
    GC_generic_malloc_many(64, (int)length, &list);
    int good = 0, all = 0;
    for (void *p = list; p; p = GC_NEXT(p), all++)
        good += GC_get_kind_and_size(p, NULL) == (int)length;
    say("many: %d", all > 0 && all == good);
    return 0;
}
