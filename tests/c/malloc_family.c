/* Every function of the malloc family: sizes that overflow, zero, odd alignments, errno. */
#include "check.h"
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <wchar.h>

/* Too large for any object, and large enough to overflow additions. Volatile: the compiler knows nothing. */
static volatile size_t too_large[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15,
                                      SIZE_MAX - 4095, SIZE_MAX - 65536, PTRDIFF_MAX, (size_t)1 << 62};
enum { TOO_LARGE = sizeof too_large / sizeof *too_large };
static volatile size_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 100, 128, 200, 256, 511,
                                  512, 1000, 1024, 2047, 2048, 3000, 4096, 5000, 8192, 10000, 16384, 32768, 32769,
                                  65536, 100000, 131072, 262144, 262145, 1000000, 1 << 20, 3 << 20, 16 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes };
static volatile size_t zero;

#define FAILS_WITH(expression, code) \
    do { \
        errno = 0; \
        CHECK((expression) == NULL); \
        CHECK(errno == (code)); \
    } while (0)

static int zeroed(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return 0;
    return 1;
}

static int filled(const unsigned char *p, size_t size, int with)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != (unsigned char)with)
            return 0;
    return 1;
}

static void check_alignment(const void *p, size_t size)
{
    CHECK((uintptr_t)p % (size < 16 ? 8 : 16) == 0);
}

static void test_malloc(void)
{
    for (int i = 0; i < SIZES; i++) {
        unsigned char *p = malloc(sizes[i]);
        CHECK(p);
        check_alignment(p, sizes[i]);
        size_t usable = malloc_usable_size(p);
        CHECK(usable >= sizes[i]);
        memset(p, 0xa5, usable);
        CHECK(filled(p, usable, 0xa5));
        free(p);
    }
    void *first = malloc(zero), *second = malloc(zero);
    CHECK(first && second && first != second);
    free(first);
    free(second);
    for (int i = 0; i < TOO_LARGE; i++)
        FAILS_WITH(malloc(too_large[i]), ENOMEM);
    CHECK(malloc_usable_size(NULL) == 0);
}

static void test_calloc(void)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SIZES; i++) {
            unsigned char *p = calloc(1, sizes[i]);
            CHECK(p && zeroed(p, sizes[i]));
            check_alignment(p, sizes[i]);
            memset(p, 0xff, malloc_usable_size(p));
            free(p);
        }
    }
    void *first = calloc(zero, 10), *second = calloc(10, zero), *third = calloc(zero, zero);
    CHECK(first && second && third && first != second && second != third);
    free(first);
    free(second);
    free(third);
    for (int i = 0; i < TOO_LARGE; i++) {
        FAILS_WITH(calloc(too_large[i], 1), ENOMEM);
        FAILS_WITH(calloc(1, too_large[i]), ENOMEM);
        FAILS_WITH(calloc(too_large[i], 16), ENOMEM);
    }
    FAILS_WITH(calloc((size_t)1 << 32, (size_t)1 << 32), ENOMEM);
    FAILS_WITH(calloc(((size_t)1 << 32) + 1, (size_t)1 << 32), ENOMEM);
}

static void test_realloc(void)
{
    for (int i = 0; i < SIZES; i++) {
        for (int j = 0; j < SIZES; j++) {
            size_t kept = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
            unsigned char *p = realloc(NULL, sizes[i]);
            CHECK(p);
            memset(p, i + 1, kept);
            p = realloc(p, sizes[j]);
            CHECK(p && filled(p, kept, i + 1));
            check_alignment(p, sizes[j]);
            CHECK(malloc_usable_size(p) >= sizes[j]);
            free(p);
        }
    }
    unsigned char *p = malloc(100);
    memset(p, 0x3c, 100);
    for (int i = 0; i < TOO_LARGE; i++) {
        FAILS_WITH(realloc(p, too_large[i]), ENOMEM);
        CHECK(filled(p, 100, 0x3c));
        FAILS_WITH(reallocarray(p, too_large[i], 2), ENOMEM);
        FAILS_WITH(reallocarray(p, 2, too_large[i]), ENOMEM);
        CHECK(filled(p, 100, 0x3c));
    }
    p = reallocarray(p, 100, 10);
    CHECK(p && filled(p, 100, 0x3c) && malloc_usable_size(p) >= 1000);
    /* glibc frees and returns NULL; a unique pointer is as good. */
    errno = 0;
    p = realloc(p, zero);
    CHECK(p || errno != ENOMEM);
    free(p);
    p = realloc(NULL, zero);
    CHECK(p);
    free(p);
    p = reallocarray(NULL, zero, 8);
    CHECK(p);
    free(p);
}

static void test_alignment(void)
{
    for (size_t alignment = 1; alignment <= (size_t)4 << 20; alignment *= 2) {
        for (int i = 0; i < SIZES; i += 5) {
            void *p = memalign(alignment, sizes[i]);
            CHECK(p && (uintptr_t)p % alignment == 0 && malloc_usable_size(p) >= sizes[i]);
            memset(p, 1, sizes[i]);
            void *q = aligned_alloc(alignment, sizes[i]);
            CHECK(q && (uintptr_t)q % alignment == 0 && malloc_usable_size(q) >= sizes[i]);
            memset(q, 2, sizes[i]);
            void *r = (void *)1;
            if (alignment >= sizeof(void *)) {
                CHECK(posix_memalign(&r, alignment, sizes[i]) == 0);
                CHECK(r && (uintptr_t)r % alignment == 0 && malloc_usable_size(r) >= sizes[i]);
                memset(r, 3, sizes[i]);
                CHECK(filled(p, sizes[i], 1) && filled(q, sizes[i], 2));
                p = realloc(p, sizes[i] + 1);
                CHECK(p && filled(p, sizes[i], 1));
                free(r);
            }
            free(p);
            free(q);
        }
        void *p = aligned_alloc(alignment, zero);
        CHECK(p && (uintptr_t)p % alignment == 0);
        free(p);
        for (int i = 0; i < TOO_LARGE; i++) {
            FAILS_WITH(memalign(alignment, too_large[i]), ENOMEM);
            FAILS_WITH(aligned_alloc(alignment, too_large[i]), ENOMEM);
        }
    }
    static volatile size_t not_powers[] = {0, 3, 5, 6, 7, 9, 12, 24, 48, 100, 4095, 4097, SIZE_MAX, (size_t)3 << 40};
    for (size_t i = 0; i < sizeof not_powers / sizeof *not_powers; i++) {
        /* C17: an alignment that is not supported fails. POSIX: EINVAL, and the pointer is left alone. */
        FAILS_WITH(aligned_alloc(not_powers[i], 64), EINVAL);
        void *p = (void *)0x1234;
        errno = 0;
        CHECK(posix_memalign(&p, not_powers[i], 64) == EINVAL);
        CHECK(p == (void *)0x1234 && errno == 0);
        /* memalign has no standard: refused, or rounded up as glibc does. */
        if (not_powers[i] < 10000) {
            errno = 0;
            p = memalign(not_powers[i], 64);
            CHECK(p ? not_powers[i] == 0 || malloc_usable_size(p) >= 64 : errno == EINVAL);
            free(p);
        }
    }
    void *p = (void *)0x1234;
    CHECK(posix_memalign(&p, 1, 64) == EINVAL && p == (void *)0x1234);
    CHECK(posix_memalign(&p, 2, 64) == EINVAL && p == (void *)0x1234);
    CHECK(posix_memalign(&p, 4, 64) == EINVAL && p == (void *)0x1234);
    errno = 0;
    for (int i = 0; i < TOO_LARGE; i++)
        CHECK(posix_memalign(&p, 64, too_large[i]) == ENOMEM && p == (void *)0x1234 && errno == 0);
    CHECK(posix_memalign(&p, 64, zero) == 0);
    free(p);
    /* A power of two that no address space can satisfy. */
    FAILS_WITH(aligned_alloc((size_t)1 << 62, 64), ENOMEM);
    FAILS_WITH(aligned_alloc((size_t)1 << 63, 64), ENOMEM);
}

/* Alignments larger than those of the heap's own address: there is no such memory, or it is aligned. */
static void test_huge_alignment(void)
{
    for (int power = 23; power <= 36; power++) {
        volatile size_t alignment = (size_t)1 << power;
        errno = 0;
        unsigned char *p = aligned_alloc(alignment, 100);
        CHECK(p ? (uintptr_t)p % alignment == 0 : errno == ENOMEM);
        if (p) {
            memset(p, 0x3c, 100);
            p = realloc(p, 5000);
            CHECK(p && filled(p, 100, 0x3c));
        }
        free(p);
    }
}

static void test_pages(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < SIZES; i++) {
        void *p = valloc(sizes[i]), *q = pvalloc(sizes[i]);
        CHECK(p && (uintptr_t)p % page == 0 && malloc_usable_size(p) >= sizes[i]);
        CHECK(q && (uintptr_t)q % page == 0 && malloc_usable_size(q) >= (sizes[i] + page - 1) / page * page);
        free(p);
        free(q);
    }
    for (int i = 0; i < TOO_LARGE; i++) {
        FAILS_WITH(valloc(too_large[i]), ENOMEM);
        FAILS_WITH(pvalloc(too_large[i]), ENOMEM);
    }
}

static void test_free(void)
{
    void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    void (*free_aligned_sized)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    void (*cfree)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");
    errno = EILSEQ;
    free(NULL);
    for (int i = 0; i < SIZES; i++)
        free(malloc(sizes[i]));
    CHECK(errno == EILSEQ);
    if (!dunegc_collect)
        return;
    CHECK(free_sized && free_aligned_sized && cfree);
    free_sized(NULL, 5);
    free_aligned_sized(NULL, 64, 64);
    cfree(NULL);
    for (int i = 0; i < SIZES; i++) {
        free_sized(malloc(sizes[i]), sizes[i]);
        free_sized(calloc(1, sizes[i]), sizes[i]);
        free_sized(realloc(malloc(1), sizes[i]), sizes[i]);
        free_aligned_sized(aligned_alloc(64, sizes[i]), 64, sizes[i]);
        cfree(malloc(sizes[i]));
    }
    free_sized(malloc(zero), 0);
    CHECK(errno == EILSEQ);
}

static void test_information(void)
{
    struct mallinfo2 before = mallinfo2();
    char *p = malloc(1 << 20), *text = NULL;
    size_t length = 0;
    memset(p, 1, 1 << 20);
    struct mallinfo2 after = mallinfo2();
    CHECK(after.uordblks + after.hblkhd >= before.uordblks + before.hblkhd + (1 << 20));
    free(p);
    FILE *file = open_memstream(&text, &length);
    CHECK(file && malloc_info(0, file) == 0);
    fclose(file);
    CHECK(strncmp(text, "<malloc", 7) == 0 && strstr(text, "</malloc>"));
    free(text);
    CHECK(malloc_info(1, stdout) != 0);
    malloc_trim(0);
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(-12345, 0);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    struct mallinfo old = mallinfo();
#pragma GCC diagnostic pop
    CHECK(old.arena != 0 || old.hblkhd != 0 || old.uordblks != 0);
}

/* Functions of libc that hand out blocks to be freed. */
static void test_users(void)
{
    char *text = strdup("some text"), *line = NULL, *printed = NULL;
    size_t room = 0;
    CHECK(strcmp(text, "some text") == 0);
    free(text);
    text = strndup("some text", 4);
    CHECK(strcmp(text, "some") == 0);
    free(text);
    wchar_t *wide = wcsdup(L"wide");
    CHECK(wcscmp(wide, L"wide") == 0);
    free(wide);
    CHECK(asprintf(&printed, "%d %s", 42, "items") == 8 && strcmp(printed, "42 items") == 0);
    free(printed);
    FILE *file = fmemopen("first\nsecond\n", 13, "r");
    CHECK(getline(&line, &room, file) == 6 && getline(&line, &room, file) == 7);
    free(line);
    fclose(file);
    text = getcwd(NULL, 0);
    CHECK(text && text[0] == '/');
    free(text);
    text = realpath("/proc/..", NULL);
    CHECK(text && strcmp(text, "/") == 0);
    free(text);
    struct dirent **names;
    int count = scandir("/", &names, NULL, alphasort);
    CHECK(count > 2);
    while (count--)
        free(names[count]);
    free(names);
}

/* Random operations, every block's contents checked. */
static void test_random(void)
{
    enum { BLOCKS = 3000, OPERATIONS = 200000 };
    static struct { unsigned char *p; size_t size; int fill; } blocks[BLOCKS];
    uint64_t seed = 88172645463325252ULL;
    for (int i = 0; i < OPERATIONS; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        int at = (int)(seed % BLOCKS), operation = (int)(seed >> 20) % 8;
        size_t size = (size_t)(seed >> 32) % (operation == 7 ? 200000 : operation > 3 ? 3000 : 200) + 1;
        size_t checked = blocks[at].size < 64 ? blocks[at].size : 64;
        if (blocks[at].p) {
            CHECK(filled(blocks[at].p, checked, blocks[at].fill));
            CHECK(filled(blocks[at].p + blocks[at].size - checked, checked, blocks[at].fill));
        }
        if (blocks[at].p && operation % 3 == 0) {
            blocks[at].p = realloc(blocks[at].p, size);
            CHECK(blocks[at].p);
            CHECK(filled(blocks[at].p, checked < size ? checked : size, blocks[at].fill));
        } else {
            free(blocks[at].p);
            blocks[at].p = NULL;
            if (operation == 1)
                continue;
            blocks[at].p = operation == 2 ? memalign(1 << (seed >> 40) % 13, size) : malloc(size);
            CHECK(blocks[at].p);
        }
        blocks[at].size = size;
        blocks[at].fill = i;
        memset(blocks[at].p, i, size);
    }
    for (int at = 0; at < BLOCKS; at++)
        free(blocks[at].p);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "stats")) {
        malloc_stats();
        puts("ok");
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "huge-alignment")) {
        test_huge_alignment();
        puts("ok");
        return 0;
    }
    test_malloc();
    test_calloc();
    test_realloc();
    test_alignment();
    test_pages();
    test_free();
    test_information();
    test_users();
    test_random();
    puts("ok");
    return 0;
}
