/* Coroutines with stacks of their own: each switch tells the collector; the stacks that wait are pushed by the program. */
#include "oracle.h"
#include <gc/gc_mark.h>
#include <ucontext.h>

enum { COROUTINES = 8, OBJECTS = 20, ROUNDS = 30, STACK = 128 * 1024 };
struct coroutine {
    ucontext_t context;
    char *stack;
    void *volatile top;
    int alive;
    long sum;
};
static struct coroutine coroutines[COROUTINES];
static ucontext_t main_context;
static struct GC_stack_base main_base;
static void *main_top;
static void *handle;
static int current = -1;
static GC_push_other_roots_proc before;

/* What waits: the main stack while a coroutine runs, and every other coroutine. */
static void GC_CALLBACK push(void)
{
    if (current >= 0)
        GC_push_all_eager(main_top, main_base.mem_base);
    for (int i = 0; i < COROUTINES; i++)
        if (i != current && coroutines[i].alive && coroutines[i].top) {
            GC_push_all_eager(coroutines[i].top, coroutines[i].stack + STACK);
            GC_push_all_eager(&coroutines[i].context, &coroutines[i].context + 1);
        }
    GC_push_all_eager(&main_context, &main_context + 1);
    if (before)
        before();
}

/* Both at once for who collects beside: from then on the collector looks after that stack, whether the switch has come or not. */
static void set_current(int number, void *base)
{
    struct GC_stack_base stack = {base};
    GC_alloc_lock();
    current = number;
    GC_set_stackbottom(handle, &stack);
    GC_alloc_unlock();
}

NOINLINE static void back_to_main(void)
{
    struct coroutine *self = &coroutines[current];
    self->top = __builtin_frame_address(0);
    /* The registers that a switch saves lie in the context; the collector sees the rest. */
    self->top = (char *)self->top - 256;
    set_current(-1, main_base.mem_base);
    swapcontext(&self->context, &main_context);
}

static void body(int number)
{
    struct coroutine *self = &coroutines[number];
    long *volatile objects[OBJECTS];
    for (int i = 0; i < OBJECTS; i++)
        objects[i] = NULL;
    for (int round = 0; round < ROUNDS; round++) {
        long *fresh = GC_MALLOC(64);
        fresh[0] = number * 1000 + round;
        objects[round % OBJECTS] = fresh;
        fresh = NULL;
        back_to_main();
        for (int i = 0; i < OBJECTS; i++)
            if (objects[i])
                self->sum += objects[i][0];
    }
    self->alive = 0;
    set_current(-1, main_base.mem_base);
    setcontext(&main_context);
}

NOINLINE static void enter(int number)
{
    char here;
    main_top = (void *)((uintptr_t)&here & ~(uintptr_t)15);
    main_top = (char *)main_top - 256;
    set_current(number, coroutines[number].stack + STACK);
    swapcontext(&main_context, &coroutines[number].context);
}

int main(void)
{
    GC_INIT();
    GC_allow_register_threads();
    handle = GC_get_my_stackbottom(&main_base);
    say("handle: %d, base: %d", handle != NULL, (char *)main_base.mem_base > (char *)&main_base);
    before = GC_get_push_other_roots();
    GC_set_push_other_roots(push);
    for (int i = 0; i < COROUTINES; i++) {
        coroutines[i].stack = malloc(STACK);
        getcontext(&coroutines[i].context);
        coroutines[i].context.uc_stack.ss_sp = coroutines[i].stack;
        coroutines[i].context.uc_stack.ss_size = STACK;
        coroutines[i].alive = 1;
        makecontext(&coroutines[i].context, (void (*)(void))body, 1, i);
    }
    int running = COROUTINES;
    for (int round = 0; running > 0; round++) {
        running = 0;
        for (int i = 0; i < COROUTINES; i++)
            if (coroutines[i].alive) {
                enter(i);
                running += coroutines[i].alive;
            }
        if (round % 3 == 0)
            GC_gcollect();
        /* Reuse what was reclaimed by mistake. */
        for (int i = 0; i < 2000; i++)
            memset(GC_MALLOC(64), 0x7f, 64);
    }
    for (int i = 0; i < COROUTINES; i++)
        say("coroutine %d: %ld", i, coroutines[i].sum);
    struct GC_stack_base now;
    void *again = GC_get_my_stackbottom(&now);
    say("the same handle: %d, the same base: %d", again == handle, now.mem_base == main_base.mem_base);
    return 0;
}
