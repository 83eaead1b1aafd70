/* Mode reclaim frees a block that two collections in a row found unreachable; where memory is nearly exhausted, one. */
#include "check.h"

static void *volatile shown[CONTROLS];

NOINLINE static void make(void)
{
    for (int i = 0; i < CONTROLS; i++)
        controls[i] = hide(item_new(i));
    clear_stack();
}

NOINLINE static void show(int whether)
{
    for (int i = 0; i < CONTROLS; i++)
        shown[i] = whether ? reveal(controls[i]) : NULL;
    clear_stack();
}

/* How many are gone after one collection more. */
NOINLINE static int gone(void)
{
    int count = 0;
    clear_stack();
    CHECK(dunegc_collect() == 0);
    for (int i = 0; i < CONTROLS; i++)
        count += dunegc_base(reveal(controls[i])) != reveal(controls[i]);
    clear_stack();
    return count;
}

static void expect(const char *when, int most)
{
    int count = gone();
    if (most ? count < CONTROLS * 3 / 4 : count > 0) {
        fprintf(stderr, "%s: %d of %d unreachable blocks are gone\n", when, count, CONTROLS);
        _exit(1);
    }
}

int main(void)
{
    make();
    expect("first collection", 0);
    expect("second collection", 1);

    make();
    expect("unreachable once", 0);
    show(1);
    expect("reachable again", 0);
    show(0);
    expect("unreachable for the first time since", 0);
    expect("unreachable for the second time", 1);

    /* DUNEGC_MAX_HEAP is 64M: more than three quarters are in use. */
    void *volatile large = malloc(52 << 20);
    CHECK(large);
    make();
    expect("only collection, memory nearly exhausted", 1);
    free(large);
    make();
    expect("first collection, memory free again", 0);
    expect("second collection, memory free again", 1);
    puts("ok");
    return 0;
}
