// The basic Boehm calls: collection, finalizers, disappearing links, figures, settings, threads.
#define GC_I_HIDE_POINTERS
#include <gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); exit(1); } } while (0)
struct node { struct node *next; int value; };
static int finalized, notified;
static void finalizer(void *object, void *data) {
    CHECK(((struct node *)object)->value == 77);
    finalized += *(int *)data;
}
static void notifier(void) { notified++; }
static void *oom(size_t n) { (void)n; return (void *)64; }
static int never(void) { return 1; }
__attribute__((noinline)) static void wipe(void) {
    volatile char stack[16384];
    for (unsigned i = 0; i < sizeof stack; i++) stack[i] = 0;
}
static int *weight;
__attribute__((noinline)) static void lose(int count) {
    for (int i = 0; i < count; i++) {
        struct node *n = GC_NEW(struct node);
        n->value = 77;
        n->next = n; // to itself: does not keep it
        GC_finalization_proc old;
        void *old_data;
        GC_REGISTER_FINALIZER(n, finalizer, weight, &old, &old_data);
        CHECK(!old && !old_data);
        GC_REGISTER_FINALIZER_NO_ORDER(n, finalizer, weight, &old, &old_data);
        CHECK(old == finalizer && old_data == weight);
    }
}
__attribute__((noinline)) static void **make_link(int keep, void ***kept) {
    void **link = GC_MALLOC_ATOMIC(sizeof(void *));
    void **object = GC_MALLOC(64);
    *link = (void *)HIDE_POINTER(object);
    CHECK(GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, object) == GC_SUCCESS);
    CHECK(GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, object) == GC_DUPLICATE);
    if (keep) *kept = object;
    return link;
}
static void *reveal(void *link) { return *(void **)link ? REVEAL_POINTER(*(void **)link) : NULL; }
static void *in_thread(void *p) {
    struct GC_stack_base base;
    CHECK(GC_get_stack_base(&base) == GC_SUCCESS && (char *)base.mem_base > (char *)&base);
    CHECK(GC_register_my_thread(&base) == GC_SUCCESS && GC_thread_is_registered());
    struct node *n = GC_NEW(struct node);
    n->next = p;
    GC_gcollect();
    CHECK(n->next->value == 5);
    CHECK(GC_unregister_my_thread() == GC_SUCCESS);
    return n;
}
int main(void) {
    GC_INIT();
    weight = malloc(sizeof *weight);
    *weight = 1;
    struct node *keep = NULL;
    for (int i = 0; i < 1500000; i++) {
        struct node *n = GC_NEW(struct node);
        CHECK(!n->next && !n->value);
        n->value = i;
        if (i % 500 == 0) {
            n->next = keep;
            keep = n;
        }
    }
    int count = 0;
    for (struct node *n = keep; n; n = n->next) CHECK(n->value == (2999 - count++) * 500);
    CHECK(count == 3000 && GC_get_gc_no() > 0);
    CHECK(GC_base((char *)keep + 9) == keep && GC_size(keep) == 16 && GC_is_heap_ptr(keep) && !GC_is_heap_ptr(&count));

    lose(1000);
    wipe();
    GC_gcollect();
    CHECK(finalized > 980 && finalized <= 1000);
    // On demand: nobody runs them but the program.
    GC_set_finalize_on_demand(1);
    GC_set_finalizer_notifier(notifier);
    int before = finalized;
    lose(100);
    wipe();
    GC_gcollect();
    CHECK(finalized == before && notified > 0 && GC_should_invoke_finalizers());
    CHECK(GC_invoke_finalizers() > 80 && finalized > before + 80 && !GC_should_invoke_finalizers());

    void **kept = NULL, **dead = make_link(0, &kept), **alive = make_link(1, &kept);
    wipe();
    GC_gcollect();
    CHECK(!*dead && !GC_call_with_alloc_lock(reveal, dead));
    CHECK(*alive && GC_call_with_alloc_lock(reveal, alive) == kept);
    CHECK(GC_unregister_disappearing_link(alive) == 1 && GC_unregister_disappearing_link(alive) == 0);

    GC_word collections = GC_get_gc_no();
    GC_disable();
    CHECK(GC_is_disabled());
    for (int i = 0; i < 1000000; i++) GC_MALLOC(32);
    CHECK(GC_get_gc_no() == collections);
    GC_enable();
    CHECK(!GC_is_disabled());
    CHECK(GC_try_to_collect(never) == 0 && GC_get_gc_no() == collections);
    CHECK(GC_try_to_collect(NULL) == 0 || GC_get_gc_no() > collections);
    CHECK(GC_get_heap_size() > 0 && GC_get_total_bytes() > 32000000 && GC_get_heap_size() < 500u << 20);

    char *s = GC_STRDUP("hello"), *t = GC_STRNDUP("hello", 3);
    CHECK(!strcmp(s, "hello") && !strcmp(t, "hel") && !GC_STRDUP(NULL));
    s = GC_REALLOC(s, 5000);
    CHECK(!strcmp(s, "hello") && GC_size(s) >= 5000);
    GC_FREE(s);
    GC_FREE(NULL);
    void *aligned = NULL;
    CHECK(GC_posix_memalign(&aligned, 256, 100) == 0 && (size_t)aligned % 256 == 0 && GC_posix_memalign(&aligned, 3, 1) == 22);
    GC_set_oom_fn(oom);
    CHECK(GC_MALLOC((size_t)-1 / 2) == (void *)64 && GC_get_oom_fn() == oom);
    GC_set_oom_fn(NULL);
    CHECK(!GC_MALLOC((size_t)-1 / 2));
    GC_set_free_space_divisor(5);
    CHECK(GC_get_free_space_divisor() == 5 && GC_get_all_interior_pointers() == 1 && !GC_is_incremental_mode());
    CHECK(GC_get_version() >> 16 == GC_VERSION_MAJOR);

    // Malloc'ed memory keeps collected objects alive; excluded and added ranges work.
    struct node **holder = malloc(sizeof *holder);
    *holder = GC_NEW(struct node);
    (*holder)->value = 5;
    wipe();
    GC_gcollect_and_unmap();
    CHECK((*holder)->value == 5);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK(GC_pthread_create(&threads[i], NULL, in_thread, *holder) == 0);
    for (int i = 0; i < 4; i++) {
        void *r;
        CHECK(GC_pthread_join(threads[i], &r) == 0 && ((struct node *)r)->next == *holder);
    }
    puts("ok");
}
