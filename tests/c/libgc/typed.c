/* Objects with described layouts: what a bitmap does not name keeps nothing alive. */
#include "oracle.h"
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>

enum { OBJECTS = 200 };
static void **holder;
static struct watch named, unnamed;

/* Objects of `words` words in arrays of `elements`; every third word is named and every word is set. */
NOINLINE static void fill(int words, int elements, int off_page)
{
    GC_word *bitmap = calloc((size_t)words / 64 + 1, sizeof *bitmap);
    for (int i = 0; i < words; i += 3)
        GC_set_bit(bitmap, i);
    GC_descr descriptor = GC_make_descriptor(bitmap, (size_t)words);
    free(bitmap);
    watch_start(&named);
    watch_start(&unnamed);
    size_t size = (size_t)words * sizeof(void *);
    int count = OBJECTS / (words * elements) + 1;
    for (int i = 0; i < count; i++) {
        void **object = elements > 1 ? GC_CALLOC_EXPLICITLY_TYPED((size_t)elements, size, descriptor)
                        : off_page   ? GC_malloc_explicitly_typed_ignore_off_page(size, descriptor)
                                     : GC_MALLOC_EXPLICITLY_TYPED(size, descriptor);
        for (int w = 0; w < words * elements; w++)
            if (object[w])
                say("not cleared");
        holder[i] = object;
        for (int e = 0; e < elements; e++)
            for (int w = 0; w < words; w++) {
                struct watch *watch = w % 3 == 0 ? &named : &unnamed;
                if (watch->count < WATCHED) {
                    void *target = GC_malloc(32);
                    object[e * words + w] = target;
                    watch_add(watch, target);
                }
            }
    }
}

int main(void)
{
    GC_INIT();
    holder = GC_malloc_uncollectable(WATCHED * sizeof *holder);
    static const int shapes[][2] = {{2, 1}, {4, 1}, {5, 1}, {40, 1}, {62, 1}, {63, 1}, {64, 1}, {65, 1}, {200, 1}, {3, 2},
                                    {3, 4}, {3, 50}, {4, 3}, {5, 30}, {70, 3}};
    for (unsigned s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int off_page = 0; off_page < 2; off_page++) {
            fill(shapes[s][0], shapes[s][1], off_page);
            collect();
            say("%d words, %d elements, off page %d: named %s, unnamed %s", shapes[s][0], shapes[s][1], off_page,
                watch_amount(&named), watch_amount(&unnamed));
            memset(holder, 0, WATCHED * sizeof *holder);
            collect();
            say("dropped: %s", watch_amount(&named));
        }
    GC_word empty = 0;
    GC_descr nothing = GC_make_descriptor(&empty, 4);
    holder[0] = GC_malloc_explicitly_typed(32, nothing);
    say("nothing: %d, size %d", holder[0] != NULL, GC_size(holder[0]) >= 32);
    say("too many: %d", GC_calloc_explicitly_typed((size_t)-1 / 2, 64, nothing) == NULL);
    GC_free(holder[0]);
    return 0;
}
