/* Allocation from free lists in the program, as generated code does it. */
#include "oracle.h"
#include <gc/gc_inline.h>

static void *normal[GC_TINY_FREELISTS], *atomic[GC_TINY_FREELISTS];
static void *kept[2000];

int main(void)
{
    GC_INIT();
    GC_add_roots(normal, normal + GC_TINY_FREELISTS);
    long sum = 0;
    void *list = NULL;
    for (long i = 0; i < 200000; i++) {
        void **pair;
        GC_CONS(pair, list, NULL, normal);
        if (i % 1000 == 0)
            list = NULL;
        else
            list = pair;
        pair[1] = (void *)i;
        if (i % 1000 == 999)
            for (void **p = list; p; p = p[0])
                sum += (long)p[1];
    }
    say("pairs: %ld", sum);
    int good = 0, zero = 0;
    for (int i = 0; i < 2000; i++) {
        void **object;
        size_t words = 2 + (size_t)i % 60;
        GC_MALLOC_WORDS(object, words, normal);
        zero += object[0] == NULL && object[1] == NULL && object[words - 1] == NULL;
        good += GC_size(object) >= words * sizeof(void *) && GC_base(object) == object;
        memset(object, 0x11, words * sizeof(void *));
        kept[i] = object;
    }
    say("words: %d, zeroed: %d", good, zero);
    GC_gcollect();
    good = 0;
    for (int i = 0; i < 2000; i++)
        good += *(long *)kept[i] == 0x1111111111111111;
    say("kept: %d", good);
    good = 0;
    for (int i = 0; i < 2000; i++) {
        char *object;
        GC_MALLOC_ATOMIC_WORDS(object, 4, atomic);
        memset(object, 0x22, 32);
        good += GC_base(object) == object;
    }
    say("atomic: %d", good);
    say("kinds: %d %d", GC_malloc_kind(100, GC_I_NORMAL) != NULL, GC_malloc_kind_global(100, GC_I_PTRFREE) != NULL);
    return 0;
}
