/* bad_free CASE: prints the pointer, misuses it, prints "after", and shows that the heap still works. */
#include "check.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

extern void *__libc_malloc(size_t);

static char in_data[64] __attribute__((aligned(16))) = "data";

static void say(const void *p)
{
    printf("%p\n", p);
    fflush(stdout);
}

static void heap_works(void)
{
    static struct item *items[5000];
    for (int i = 0; i < 5000; i++)
        items[i] = item_new(i);
    for (int i = 0; i < 5000; i++) {
        CHECK(item_intact(items[i], i));
        for (int j = i + 1; j < i + 50 && j < 5000; j++)
            CHECK(items[i] != items[j]);
    }
    for (int i = 0; i < 5000; i++)
        free(items[i]);
}

static void *free_it(void *p)
{
    free(p);
    return NULL;
}

static void *free_mixed(void *p)
{
    void **mixed = p;
    for (int i = 0; i < 4; i++)
        free(mixed[i]);
    free(mixed[0]);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    /* Otherwise the first printf takes the freed block for its buffer. */
    static char buffer[BUFSIZ];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    void *volatile keep = malloc(100);
    char *volatile p = NULL;
    char on_stack[64] __attribute__((aligned(16)));
    if (!strcmp(name, "double")) {
        p = malloc(100);
        free(p);
        say(p);
        free(p);
    } else if (!strcmp(name, "double-large")) {
        p = malloc(3 << 20);
        free(p);
        say(p);
        free(p);
    } else if (!strcmp(name, "double-other-thread")) {
        pthread_t thread;
        p = malloc(100);
        CHECK(pthread_create(&thread, NULL, free_it, p) == 0);
        pthread_join(thread, NULL);
        say(p);
        free(p);
    } else if (!strcmp(name, "double-there")) {
        /* Both by a thread that does not own it, with others of other sizes in between. */
        pthread_t thread;
        void *volatile mixed[4] = {malloc(100), malloc(40), malloc(300), malloc(100)};
        p = mixed[0];
        say(p);
        CHECK(pthread_create(&thread, NULL, free_mixed, (void *)mixed) == 0);
        pthread_join(thread, NULL);
    } else if (!strcmp(name, "interior")) {
        p = malloc(100);
        say(p + 16);
        free(p + 16);
    } else if (!strcmp(name, "interior-odd")) {
        p = malloc(100);
        say(p + 1);
        free(p + 1);
    } else if (!strcmp(name, "interior-large")) {
        p = malloc(3 << 20);
        say(p + 4096);
        free(p + 4096);
    } else if (!strcmp(name, "foreign-stack")) {
        say(on_stack);
        p = on_stack;
        free(p);
    } else if (!strcmp(name, "foreign-data")) {
        say(in_data);
        p = in_data;
        free(p);
    } else if (!strcmp(name, "foreign-mmap")) {
        p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        say(p + 32);
        free(p + 32);
    } else if (!strcmp(name, "foreign-unmapped")) {
        p = (char *)0x123450;
        say(p);
        free(p);
    } else if (!strcmp(name, "realloc-freed")) {
        p = malloc(100);
        free(p);
        say(p);
        void *q = realloc(p, 200);
        CHECK(q == NULL || malloc_usable_size(q) >= 200);
    } else if (!strcmp(name, "realloc-interior")) {
        p = malloc(100);
        say(p + 16);
        void *q = realloc(p + 16, 200);
        CHECK(q == NULL || malloc_usable_size(q) >= 200);
    } else if (!strcmp(name, "other-allocator")) {
        /* A block of glibc's own allocator is passed on to it, without a word. */
        p = __libc_malloc(100);
        say(p);
        memset(p, 7, 100);
        CHECK(malloc_usable_size(p) >= 100);
        p = realloc(p, 5000);
        CHECK(p && p[0] == 7 && p[99] == 7);
        free(p);
        p = __libc_malloc(100);
        free(p);
    } else {
        fprintf(stderr, "bad_free: unknown case %s\n", name);
        return 2;
    }
    puts("after");
    heap_works();
    free(keep);
    puts("ok");
    return 0;
}
