/* Fibers as runtimes of languages make them: mapped stacks with guard pages, many of them parked, on two threads. Each switch tells the
 * collector where the stack ends; before it scans, the program pushes what is parked, and tells it again for every thread. */
#include "oracle.h"
#include <gc/gc_mark.h>
#include <pthread.h>
#include <sys/mman.h>

enum { THREADS = 2, FIBERS = 100, OBJECTS = 12, ROUNDS = 12, STACK = 64 * 1024, PAGE = 4096 };

struct fiber {
    void *volatile sp; /* Of a parked one; null while it runs, and after its end. */
    char *low, *bottom;
    long sum;
    int number, ended;
};
struct thread {
    struct fiber fibers[FIBERS], main;
    struct fiber *volatile running;
    void *handle;
};
static struct thread threads[THREADS];
static pthread_rwlock_t switching = PTHREAD_RWLOCK_INITIALIZER;
static int locked;
static GC_push_other_roots_proc before;
static __thread struct thread *self;

/* Saves the registers that a function must keep on the stack, and goes on where the other stack's were saved. */
void swap_stacks(void *volatile *save, void *load);
__asm__(".text\n.type swap_stacks,@function\nswap_stacks:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n.size swap_stacks, .-swap_stacks");

/* A collection begins: no thread is in the middle of a switch until the roots have been pushed. */
static void GC_CALLBACK begin(void)
{
    if (!locked) {
        pthread_rwlock_wrlock(&switching);
        locked = 1;
    }
}

static void push_if_parked(struct fiber *fiber)
{
    if (fiber->sp)
        GC_push_all_eager(fiber->sp, fiber->bottom);
}

static void GC_CALLBACK push(void)
{
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < FIBERS; i++)
            push_if_parked(&threads[t].fibers[i]);
        push_if_parked(&threads[t].main);
        if (threads[t].handle && threads[t].running) {
            struct GC_stack_base base = {threads[t].running->bottom};
            GC_set_stackbottom(threads[t].handle, &base);
        }
    }
    if (locked) {
        locked = 0;
        pthread_rwlock_unlock(&switching);
    }
    if (before)
        before();
}

/* Parks the fiber that runs, and resumes another one of the same thread. */
NOINLINE static void resume(struct fiber *to)
{
    pthread_rwlock_rdlock(&switching);
    struct fiber *from = self->running;
    void *sp = to->sp;
    struct GC_stack_base base = {to->bottom};
    self->running = to;
    to->sp = NULL;
    GC_set_stackbottom(NULL, &base);
    swap_stacks(&from->sp, sp);
    pthread_rwlock_unlock(&switching);
}

static void waste(void)
{
    for (int i = 0; i < 30; i++)
        memset(GC_MALLOC(64), 0x7f, 64);
}

/* What it allocates is known to its own stack only. */
NOINLINE static void work(struct fiber *fiber)
{
    long *volatile objects[OBJECTS] = {NULL};
    for (int round = 0; round < ROUNDS; round++) {
        long *fresh = GC_MALLOC(64);
        fresh[0] = fiber->number * 1000 + round;
        objects[round % OBJECTS] = fresh;
        fresh = NULL;
        waste();
        resume(&self->main);
        for (int i = 0; i < OBJECTS; i++)
            if (objects[i])
                fiber->sum += objects[i][0];
    }
}

static void start(void)
{
    struct fiber *fiber = self->running;
    pthread_rwlock_unlock(&switching);
    work(fiber);
    fiber->ended = 1;
    resume(&self->main);
    abort();
}

static void make(struct fiber *fiber, int number)
{
    fiber->low = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (fiber->low == MAP_FAILED || mprotect(fiber->low, PAGE, PROT_NONE) != 0)
        exit(1);
    fiber->number = number;
    fiber->bottom = fiber->low + STACK;
    /* Six registers, where to begin, and a return address that nobody returns to. */
    void **top = (void **)fiber->bottom - 2;
    top[0] = (void *)start;
    fiber->sp = top - 6;
}

static void *run(void *data)
{
    self = data;
    struct GC_stack_base base;
    self->handle = GC_get_my_stackbottom(&base);
    self->main.bottom = base.mem_base;
    self->running = &self->main;
    for (int i = 0; i < FIBERS; i++)
        make(&self->fibers[i], (int)(self - threads) * FIBERS + i);
    for (int left = FIBERS, round = 0; left > 0; round++) {
        left = 0;
        for (int i = 0; i < FIBERS; i++)
            if (!self->fibers[i].ended) {
                resume(&self->fibers[i]);
                left += !self->fibers[i].ended;
            }
        if (round % 4 == 1)
            GC_gcollect();
        waste();
    }
    for (int i = 0; i < FIBERS; i++) {
        self->fibers[i].sp = NULL;
        munmap(self->fibers[i].low, STACK);
    }
    self->running = NULL;
    return NULL;
}

int main(void)
{
    GC_INIT();
    GC_allow_register_threads();
    before = GC_get_push_other_roots();
    GC_set_push_other_roots(push);
    GC_set_start_callback(begin);
    pthread_t second;
    if (GC_pthread_create(&second, NULL, run, &threads[1]) != 0)
        return 1;
    run(&threads[0]);
    GC_pthread_join(second, NULL);
    for (int t = 0; t < THREADS; t++) {
        int right = 0;
        for (int i = 0; i < FIBERS; i++) {
            long expected = 0, number = t * FIBERS + i;
            for (int round = 0; round < ROUNDS; round++)
                for (int k = 0; k <= round; k++)
                    expected += number * 1000 + k;
            right += threads[t].fibers[i].sum == expected;
        }
        say("thread %d: %d of %d fibers kept all they had", t, right, FIBERS);
    }
    return 0;
}
