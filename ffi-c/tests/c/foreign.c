// Blocks of other allocators are given to them; pointers that nobody owns are reported.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); exit(1); } } while (0)
static void *(*get)(size_t);
static void *(*get_aligned)(size_t, size_t);
static int calls;
// Only libc's blocks are not known to it.
static void *(*base)(const void *);
static int deep;

static void exercise(int free_them) {
    size_t sizes[] = {1, 100, 5000, 200000, 5 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = get(sizes[i]);
        CHECK(p);
        CHECK((base(p) == NULL) == deep);
        CHECK(malloc_usable_size(p) >= sizes[i]);
        p = realloc(p, sizes[i] * 2);
        CHECK(p && p[0] == 7 && p[sizes[i] - 1] == 7);
        if (free_them) free(p);
        p = get_aligned(4096, sizes[i]);
        if (free_them) free(p);
        p = get(sizes[i]);
        CHECK(realloc(p, 0) == NULL);
        p = get_aligned(64, sizes[i]);
        if (free_them) free(p);
    }
    calls++;
}
static void *in_thread(void *arg) {
    (void)arg;
    exercise(1);
    return NULL;
}
int main(int argc, char **argv) {
    CHECK(argc == 4);
    void *library = dlopen(argv[1], RTLD_NOW | (strcmp(argv[3], "deep") ? 0 : RTLD_DEEPBIND));
    if (!library) { puts(dlerror()); return 1; }
    get = (void *(*)(size_t))dlsym(library, strcmp(argv[3], "mi") ? "get" : "mi_malloc");
    get_aligned = (void *(*)(size_t, size_t))dlsym(library, strcmp(argv[3], "mi") ? "get_aligned" : "mi_memalign");
    if (!strcmp(argv[3], "mi")) {
        char *p = get(100);
        CHECK(malloc_usable_size(p) >= 100);
        p = realloc(p, 1000);
        free(p);
        puts("ok");
        return 0;
    }
    deep = !strcmp(argv[3], "deep");
    base = (void *(*)(const void *))dlsym(RTLD_DEFAULT, "dunegc_base");
    CHECK(base);
    exercise(1);
    pthread_t t[4];
    for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, in_thread, NULL);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    CHECK(__builtin_expect(calls, 5) >= 2);
    if (!strcmp(argv[2], "bad")) {
        static char array[256];
        free(array + 64);
        char stack[256];
        char *volatile s = stack + 64;
        free(s);
        free((void *)0x123456789000);
    }
    puts("ok");
}
