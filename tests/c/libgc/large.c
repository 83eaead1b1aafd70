/* A heap that is large enough for collections beside the program: whole after all its changes. */
#include "oracle.h"

enum { NODES = 200000, ROUNDS = 40, CHANGES = 50000 };
struct node {
    struct node *next;
    long number, sum;
};
static struct node *nodes[NODES];

static struct node *make(long number)
{
    struct node *node = GC_MALLOC(sizeof *node);
    node->number = number;
    node->sum = number * 3;
    return node;
}

int main(void)
{
    GC_INIT();
    for (long i = 0; i < NODES; i++) {
        nodes[i] = make(i);
        nodes[i]->next = make(-i);
    }
    unsigned long seed = 1;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHANGES; i++) {
            seed = seed * 6364136223846793005UL + 1442695040888963407UL;
            struct node *a = nodes[(seed >> 33) % NODES];
            struct node *moved = a->next;
            a->next = make(moved->number - 1);
        }
    long broken = 0, total = 0;
    for (long i = 0; i < NODES; i++) {
        struct node *a = nodes[i], *b = a->next;
        broken += a->number != i || a->sum != 3 * i || b->next != NULL || b->sum != b->number * 3;
        total += b->number;
    }
    say("broken: %ld, total: %ld, incremental: %d", broken, total, GC_is_incremental_mode());
    return 0;
}
