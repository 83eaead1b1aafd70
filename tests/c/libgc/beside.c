/* Functions of the program while it runs beside its collections: mark procedures run with the world stopped and find what they alone can find;
 * finalizers, the notifier and disclaim procedures run on threads of the program. */
#include "oracle.h"
#include <gc/gc_disclaim.h>
#include <gc/gc_mark.h>
#include <pthread.h>
#include <sys/prctl.h>

enum { HOLDERS = 2000, ROUNDS = 400000, CHAIN = 3 };
struct node {
    struct node *next;
    long value;
};
/* No word of it looks like a pointer. */
struct holder {
    uintptr_t hidden;
    long value;
};
static volatile long ticks;
static volatile int done;
static long asked, ran_beside, finalized, notified, disclaimed, elsewhere;

static struct GC_ms_entry *mark(GC_word *object, struct GC_ms_entry *top, struct GC_ms_entry *limit, GC_word environment)
{
    long before = ticks;
    struct holder *holder = (struct holder *)object;
    (void)environment;
    for (volatile int i = 0; i < 200; i++)
        ;
    if (ticks != before)
        __atomic_add_fetch(&ran_beside, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
    if (holder->hidden == 0)
        return top;
    return GC_MARK_AND_PUSH(reveal(holder->hidden), top, limit, (void **)&holder->hidden);
}

static void *tick(void *unused)
{
    while (!done)
        ticks++;
    return unused;
}

/* The collector's own threads have a name. */
static void look(void)
{
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    if (strncmp(name, "dunegc", 6) == 0)
        __atomic_add_fetch(&elsewhere, 1, __ATOMIC_RELAXED);
}

static void GC_CALLBACK finalize(void *object, void *data)
{
    (void)object, (void)data;
    look();
    finalized++;
}

static void GC_CALLBACK notify(void)
{
    look();
    notified++;
}

static int GC_CALLBACK disclaim(void *object)
{
    (void)object;
    look();
    __atomic_add_fetch(&disclaimed, 1, __ATOMIC_RELAXED);
    return 0;
}

NOINLINE static struct node *chain(long value)
{
    struct node *first = NULL;
    for (int i = 0; i < CHAIN; i++) {
        struct node *node = GC_malloc(sizeof *node);
        node->next = first;
        node->value = value + i;
        first = node;
    }
    return first;
}

static long check(const struct holder *holder)
{
    long wrong = 0;
    int i = CHAIN;
    for (const struct node *node = reveal(holder->hidden); i-- > 0; node = node->next)
        wrong += node == NULL || node->value != holder->value + i;
    return wrong;
}

NOINLINE static long work(struct holder **holders, unsigned kind, unsigned disclaiming)
{
    unsigned random = 1;
    long wrong = 0;
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1103515245 + 12345;
        struct holder **place = &holders[(random >> 8) % HOLDERS];
        if (*place == NULL || random >> 28 == 0)
            *place = GC_generic_malloc(sizeof **place, (int)kind);
        if ((*place)->hidden)
            wrong += check(*place);
        (*place)->value = i;
        /* A stop can come at any moment: until it is stored, hidden in a register alone it would be lost. */
        struct node *volatile keep = chain(i);
        (*place)->hidden = hide(keep);
        GC_malloc(64);
        if (i % 64 == 0) {
            GC_register_finalizer_no_order(GC_malloc(32), finalize, NULL, NULL, NULL);
            ((long *)GC_generic_malloc(32, (int)disclaiming))[1] = 1;
        }
        if (i == ROUNDS / 2)
            GC_set_finalize_on_demand(1);
    }
    return wrong;
}

int main(void)
{
    pthread_t ticker;
    GC_INIT();
    GC_set_finalizer_notifier(notify);
    unsigned kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(GC_new_proc(mark), 0), 0, 1);
    unsigned disclaiming = GC_new_kind(GC_new_free_list(), 0, 1, 1);
    GC_register_disclaim_proc((int)disclaiming, disclaim, 0);
    pthread_create(&ticker, NULL, tick, NULL);
    struct holder **holders = GC_malloc_uncollectable(HOLDERS * sizeof *holders);
    long wrong = work(holders, kind, disclaiming);
    done = 1;
    pthread_join(ticker, NULL);
    say("wrong: %ld, procedures called: %d, beside the program: %ld", wrong, asked > HOLDERS, ran_beside);
    say("finalized: %d, notified: %d, disclaimed: %d, on a thread of the collector: %ld", finalized > 100, notified > 0, disclaimed > 100, elsewhere);
    return 0;
}
