/* What the programs that run against two collectors share. What they print may not depend on addresses, or on a few objects
 * that a conservative collector happens to keep: numbers of objects are printed as words. */
#ifndef ORACLE_H
#define ORACLE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef GC_THREADS
#define GC_THREADS
#endif
#include <gc/gc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline, noclone))

/* One line of the transcript; out at once, so that a crash does not lose it. */
__attribute__((format(printf, 1, 2))) static UNUSED void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

/* How many of so many, as far as it is the collector's choice. */
static UNUSED const char *amount(long count, long total)
{
    return count > total ? "too many" : count >= total - total / 20 - 1 ? "nearly all"
           : count <= total / 20 + 1 ? "hardly any" : "some";
}

/* Overwrites the stack below the caller, where earlier calls left pointers. */
NOINLINE static UNUSED void clear_stack(void)
{
    volatile char deep[32768];
    for (size_t i = 0; i < sizeof deep; i++)
        deep[i] = 0;
    __asm__ volatile("" : : "r"(deep) : "rbx", "r12", "r13", "r14", "r15", "memory");
}

NOINLINE static UNUSED void collect(void)
{
    for (int i = 0; i < 3; i++) {
        clear_stack();
        GC_gcollect();
    }
}

/* Collects and runs what finalizers are ready, until none is. */
NOINLINE static UNUSED void settle(void)
{
    for (int i = 0; i < 4; i++) {
        collect();
        GC_invoke_finalizers();
    }
    clear_stack();
}

/* Pointers that no collector sees. */
static UNUSED uintptr_t hide(const void *p) { return ~(uintptr_t)p; }
static UNUSED void *reveal(uintptr_t hidden) { return (void *)~hidden; }

/* Whether hidden objects are still there is told by links that disappear. A watch watches up to WATCHED objects. */
enum { WATCHED = 400 };
struct watch {
    uintptr_t *hidden;
    int count;
};

static UNUSED void watch_start(struct watch *watch)
{
    watch->hidden = (uintptr_t *)GC_malloc_atomic_uncollectable(WATCHED * sizeof *watch->hidden);
    watch->count = 0;
}

NOINLINE static UNUSED void watch_add(struct watch *watch, void *object)
{
    uintptr_t *link = &watch->hidden[watch->count++];
    *link = hide(object);
    if (GC_general_register_disappearing_link((void **)link, GC_base(object)) != GC_SUCCESS)
        say("a link was refused");
}

static UNUSED int watch_alive(const struct watch *watch)
{
    int alive = 0;
    for (int i = 0; i < watch->count; i++)
        alive += watch->hidden[i] != 0;
    return alive;
}

/* "all" is all of them: what must be kept, must. */
static UNUSED const char *watch_amount(const struct watch *watch)
{
    int alive = watch_alive(watch);
    return alive == watch->count ? "all" : amount(alive, watch->count);
}

/* Begins anew with `n` objects of 64 bytes, which nothing but `where` refers to. */
NOINLINE static UNUSED void watch_fill(struct watch *watch, void **where, int n)
{
    watch_start(watch);
    for (int i = 0; i < n; i++) {
        where[i] = GC_MALLOC(64);
        watch_add(watch, where[i]);
    }
    clear_stack();
}

/* Says how many are left after a collection. */
static UNUSED void watch_tell(const struct watch *watch, const char *name)
{
    collect();
    say("%s: %s", name, watch_amount(watch));
}
#endif
