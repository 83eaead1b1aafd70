/* What the test programs share: CHECK, forced collections, hidden pointers. */
#ifndef CHECK_H
#define CHECK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s failed (errno %d: %s)\n", __FILE__, __LINE__, #condition, errno, \
                    strerror(errno)); \
            _exit(1); \
        } \
    } while (0)

#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline, noclone))

/* Absent when the program runs without the library. */
extern int dunegc_collect(void) __attribute__((weak));
extern void *dunegc_base(const void *) __attribute__((weak));

/* Overwrites the stack below the caller, where earlier calls left pointers. */
NOINLINE static UNUSED void clear_stack(void)
{
    volatile char deep[16384];
    for (size_t i = 0; i < sizeof deep; i++)
        deep[i] = 0;
    /* Caller-saved registers and the callee-saved ones that nobody restores hold no pointers either. */
    __asm__ volatile("" : : "r"(deep) : "memory");
}

/* Full collections, where there is a collector. Three: reclaim frees after two cycles that agree. */
NOINLINE static UNUSED void collect(void)
{
    clear_stack();
    if (dunegc_collect)
        for (int i = 0; i < 3; i++)
            CHECK(dunegc_collect() == 0);
}

/* A pointer in a form that no collector recognises. */
static UNUSED uintptr_t hide(const void *p) { return ~(uintptr_t)p; }
static UNUSED void *reveal(uintptr_t hidden) { return (void *)~hidden; }

static UNUSED int reclaiming(void)
{
    const char *mode = getenv("DUNEGC_MODE");
    return dunegc_collect && mode && strcmp(mode, "reclaim") == 0;
}

/* A block with contents that tell whether it was used again; whether it was freed, the library says. */
struct item {
    uint64_t magic, number, inverse;
    unsigned char fill[24];
};

static UNUSED struct item *item_new(uint64_t number)
{
    struct item *item = malloc(sizeof *item);
    CHECK(item);
    item->magic = 0x6974656d6974656dULL;
    item->number = number;
    item->inverse = ~number;
    memset(item->fill, (int)(number * 7 + 1), sizeof item->fill);
    return item;
}

static UNUSED int item_intact(const struct item *item, uint64_t number)
{
    if (dunegc_base && dunegc_base(item) != item)
        return 0;
    if (item->magic != 0x6974656d6974656dULL || item->number != number || item->inverse != ~number)
        return 0;
    for (size_t i = 0; i < sizeof item->fill; i++)
        if (item->fill[i] != (unsigned char)(number * 7 + 1))
            return 0;
    return 1;
}

/* Takes and overwrites whatever was freed of the items' size. */
NOINLINE static UNUSED void overwrite_freed(void)
{
    enum { BLOCKS = 4096 };
    void **blocks = malloc(BLOCKS * sizeof *blocks);
    CHECK(blocks);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(sizeof(struct item));
        CHECK(blocks[i]);
        memset(blocks[i], 0xdd, sizeof(struct item));
    }
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    memset(blocks, 0, BLOCKS * sizeof *blocks);
    free(blocks);
    clear_stack();
}

/* Blocks that nothing points to: in reclaim most of them must go, elsewhere none. */
enum { CONTROLS = 1024 };
static uintptr_t controls[CONTROLS];

NOINLINE static UNUSED void controls_make(void)
{
    for (int i = 0; i < CONTROLS; i++)
        controls[i] = hide(item_new(1000000 + i));
    clear_stack();
}

/* To be called after collect() and before anything else allocates. */
NOINLINE static UNUSED void controls_check(void)
{
    int gone = 0;
    if (!dunegc_base)
        return;
    for (int i = 0; i < CONTROLS; i++) {
        void *p = reveal(controls[i]);
        if (dunegc_base(p) != p)
            gone++;
    }
    /* With forced collections they go early, and what is allocated afterwards may take the place of any of them. */
    int least = getenv("DUNEGC_ZEAL") ? 0 : CONTROLS * 3 / 4;
    if (reclaiming() ? gone < least : gone > 0) {
        fprintf(stderr, "%d of %d unreachable blocks were reclaimed in mode %s\n", gone, CONTROLS,
                getenv("DUNEGC_MODE"));
        _exit(1);
    }
}
#endif
