/* The C interface: collected memory, finalizers, roots, pins, figures; linked with the library. */
#include <dunegc.h>
#include <gc/gc.h>
#define dunegc_collect collect_declared_weak
#define dunegc_base base_declared_weak
#include "check.h"
#undef dunegc_collect
#undef dunegc_base
#include <pthread.h>
#include <sys/mman.h>

struct node {
    struct node *left, *right;
    uint64_t number;
};

static struct node *root; /* in the data segment: a root */
static int finalized;

static void full(void)
{
    clear_stack();
    CHECK(dunegc_collect() == 0);
    CHECK(dunegc_collect() == 0);
}

static struct node *tree(int depth)
{
    struct node *node = dunegc_alloc(sizeof *node);
    CHECK(node && node->left == NULL && node->right == NULL && node->number == 0);
    CHECK((uintptr_t)node % 16 == 0);
    node->number = (uint64_t)depth;
    if (depth) {
        node->left = tree(depth - 1);
        node->right = tree(depth - 1);
    }
    return node;
}

static uint64_t count(const struct node *node, int depth)
{
    CHECK(node->number == (uint64_t)depth);
    return depth ? 1 + count(node->left, depth - 1) + count(node->right, depth - 1) : 1;
}

static void trees(void)
{
    root = tree(14);
    for (int i = 0; i < 60; i++)
        tree(12);
    full();
    CHECK(count(root, 14) == (1 << 15) - 1);
    root = NULL;
}

enum { N = 500 };
static uintptr_t hidden[N];

NOINLINE static void make_hidden(void *(*make)(size_t))
{
    for (int i = 0; i < N; i++) {
        void *p = make(64);
        CHECK(p);
        hidden[i] = hide(p);
    }
    clear_stack();
}

static int gone(void)
{
    int gone = 0;
    for (int i = 0; i < N; i++)
        gone += dunegc_base(reveal(hidden[i])) != reveal(hidden[i]);
    return gone;
}

static void kinds(void)
{
    make_hidden(dunegc_alloc);
    full();
    CHECK(gone() > N * 9 / 10);
    make_hidden(dunegc_alloc_atomic);
    full();
    CHECK(gone() > N * 9 / 10);
    make_hidden(dunegc_alloc_uncollectable);
    full();
    CHECK(gone() == 0);
    for (int i = 0; i < N; i++)
        dunegc_free(reveal(hidden[i]));
    /* Pointers in pointer-free memory keep nothing. */
    uintptr_t *atomic = dunegc_alloc_atomic(N * sizeof *atomic);
    CHECK(atomic);
    make_hidden(dunegc_alloc);
    for (int i = 0; i < N; i++)
        atomic[i] = (uintptr_t)reveal(hidden[i]);
    full();
    CHECK(gone() > N * 9 / 10);
    /* Uncollectable memory is a root. */
    uintptr_t *scanned = dunegc_alloc_uncollectable(N * sizeof *scanned);
    make_hidden(dunegc_alloc);
    for (int i = 0; i < N; i++)
        scanned[i] = (uintptr_t)reveal(hidden[i]);
    full();
    CHECK(gone() == 0);
    dunegc_free(scanned);
    scanned = NULL;
    full();
    CHECK(gone() > N * 9 / 10);
}

static void sizes(void)
{
    for (size_t size = 0; size < 3000000; size = size * 5 / 4 + 1) {
        char *p = dunegc_alloc(size);
        CHECK(p && dunegc_base(p) == p && dunegc_size(p) >= size);
        if (size)
            CHECK(dunegc_base(p + size / 2) == p && dunegc_base(p + size - 1) == p);
        for (size_t i = 0; i < size; i += 17)
            CHECK(p[i] == 0);
        memset(p, 0x77, size);
        p = dunegc_realloc(p, size + 100);
        CHECK(p && dunegc_size(p) >= size + 100);
        for (size_t i = 0; i < size; i += 17)
            CHECK(p[i] == 0x77);
        if (size % 3)
            dunegc_free(p);
    }
    int local;
    CHECK(dunegc_base(&local) == NULL && dunegc_size(&local) == 0 && dunegc_base(NULL) == NULL);
    errno = 0;
    CHECK(dunegc_alloc(SIZE_MAX) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(dunegc_alloc_atomic((size_t)PTRDIFF_MAX + 1) == NULL && errno == ENOMEM);
    dunegc_free(NULL);
}

static void on_finalize(void *object, void *data)
{
    CHECK(*(uint64_t *)object == 0xf1 && data == &finalized);
    __atomic_fetch_add(&finalized, 1, __ATOMIC_RELAXED);
}

NOINLINE static void make_finalizable(void)
{
    for (int i = 0; i < 100; i++) {
        uint64_t *p = dunegc_alloc(48);
        *p = 0xf1;
        CHECK(dunegc_set_finalizer(p, on_finalize, &finalized) == 0);
    }
    clear_stack();
}

static void finalizers(void)
{
    uint64_t *kept = dunegc_alloc(48), *removed;
    *kept = 0xf1;
    CHECK(dunegc_set_finalizer(kept, on_finalize, &finalized) == 0);
    removed = dunegc_alloc(48);
    CHECK(dunegc_set_finalizer(removed, on_finalize, &finalized) == 0);
    CHECK(dunegc_set_finalizer(removed, NULL, NULL) == 0);
    make_finalizable();
    for (int i = 0; i < 500 && finalized < 95; i++) {
        full();
        usleep(10000);
    }
    CHECK(finalized >= 95 && finalized <= 100);
    CHECK(*kept == 0xf1);
}

static void roots_and_pins(void)
{
    /* Collected memory is found through registered ranges; the mapping is read-only, which roots need not cover. */
    uintptr_t *range = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(range != MAP_FAILED);
    make_hidden(dunegc_alloc);
    for (int i = 0; i < N; i++)
        range[i] = (uintptr_t)reveal(hidden[i]);
    dunegc_add_roots(range, range + N);
    full();
    CHECK(gone() == 0);
    dunegc_remove_roots(range, range + N);
    memset(range, 0, N * sizeof *range);
    full();
    CHECK(gone() > N * 9 / 10);
    make_hidden(dunegc_alloc);
    for (int i = 0; i < N; i++) {
        CHECK(dunegc_pin(reveal(hidden[i])) == 0);
        CHECK(dunegc_pin(reveal(hidden[i])) == 0);
        CHECK(dunegc_unpin(reveal(hidden[i])) == 0);
    }
    full();
    CHECK(gone() == 0);
    for (int i = 0; i < N; i++)
        CHECK(dunegc_unpin(reveal(hidden[i])) == 0);
    full();
    CHECK(gone() > N * 9 / 10);
    int local;
    errno = 0;
    CHECK(dunegc_pin(&local) == -1 && errno == EINVAL);
}

static void figures(void)
{
    struct dunegc_stats before = {.size = sizeof before}, after = {.size = sizeof after};
    CHECK(dunegc_get_stats(&before) == 0);
    for (int i = 0; i < 10000; i++)
        dunegc_alloc(100);
    full();
    CHECK(dunegc_get_stats(&after) == 0);
    CHECK(after.collections >= before.collections + 2);
    CHECK(after.allocated_bytes >= before.allocated_bytes + 1000000);
    CHECK(after.pause_total_ns > before.pause_total_ns && after.pause_max_ns >= after.pause_p50_ns);
    CHECK(after.heap_bytes > 0 && after.mark_ns > 0);
    int major, minor, patch;
    CHECK(sscanf(dunegc_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
}

static void *in_thread(void *unused)
{
    struct node *own = tree(10);
    for (int i = 0; i < 20; i++)
        tree(8);
    CHECK(dunegc_collect() == 0 || errno == EAGAIN || errno == EBUSY);
    CHECK(count(own, 10) == (1 << 11) - 1);
    return unused;
}

static void threads(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, in_thread, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void boehm(void)
{
    GC_INIT();
    struct node *list = NULL;
    for (int i = 0; i < 1000; i++) {
        struct node *node = GC_MALLOC(sizeof *node);
        CHECK(node && !node->left && !node->number);
        node->left = list;
        node->number = (uint64_t)i;
        list = node;
    }
    GC_gcollect();
    for (int i = 999; i >= 0; i--, list = list->left)
        CHECK(list && list->number == (uint64_t)i);
    char *text = GC_STRDUP("some text");
    CHECK(GC_base(text + 3) == text && GC_size(text) >= 10);
    text = GC_REALLOC(text, 1000);
    CHECK(strcmp(text, "some text") == 0);
    GC_FREE(text);
}

int main(void)
{
    trees();
    kinds();
    sizes();
    finalizers();
    roots_and_pins();
    figures();
    threads();
    boehm();
    puts("ok");
    return 0;
}
