/* Threads that build, cut, link weakly and finalize, all at once; the sums tell that nothing reachable was lost. */
#include "oracle.h"
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 150 };
struct node {
    struct node *left, *right;
    long number, check;
};
static volatile long finalized, broken;
static struct node *shared[64];

static void GC_CALLBACK finalize(void *object, void *data)
{
    struct node *node = object;
    (void)data;
    if (node->check != ~node->number)
        __atomic_add_fetch(&broken, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&finalized, 1, __ATOMIC_RELAXED);
}

static struct node *tree(int depth, long number)
{
    struct node *node = GC_MALLOC(sizeof *node);
    node->number = number;
    node->check = ~number;
    if (number % 50 == 0)
        GC_REGISTER_FINALIZER_NO_ORDER(node, finalize, NULL, NULL, NULL);
    if (depth > 0) {
        node->left = tree(depth - 1, number * 2);
        node->right = tree(depth - 1, number * 2 + 1);
    }
    return node;
}

static long sum(const struct node *node)
{
    if (!node)
        return 0;
    if (node->check != ~node->number)
        __atomic_add_fetch(&broken, 1, __ATOMIC_RELAXED);
    return node->number + sum(node->left) + sum(node->right);
}

static void *work(void *data)
{
    long number = (long)data, total = 0;
    struct node *own = NULL;
    for (int round = 0; round < ROUNDS; round++) {
        struct node *fresh = tree(8, round + number * 1000);
        total += sum(fresh);
        if (round % 3 == 0)
            own = fresh;
        total += sum(own);
        shared[number * 16 + round % 16] = fresh;
        char *text = GC_MALLOC_ATOMIC(100 + (size_t)round * 10);
        memset(text, 'x', 100);
        void **link = GC_MALLOC_ATOMIC(sizeof *link);
        *link = (void *)hide(text);
        GC_general_register_disappearing_link(link, text);
        text = GC_REALLOC(text, 10000);
        total += text[99];
        GC_FREE(text);
    }
    return (void *)total;
}

int main(void)
{
    GC_INIT();
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        void *total;
        pthread_join(threads[i], &total);
        say("thread %d: %ld", i, (long)total);
    }
    long total = 0;
    for (int i = 0; i < 64; i++)
        total += sum(shared[i]);
    say("shared: %ld, broken: %ld", total, broken);
    memset(shared, 0, sizeof shared);
    settle();
    say("finalized: %d, broken: %ld", finalized > 0, broken);
    return 0;
}
