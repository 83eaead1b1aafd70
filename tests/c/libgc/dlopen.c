/* Data of a library that is loaded later: a root while it is loaded. */
#include "oracle.h"
#include <dlfcn.h>

enum { OBJECTS = 100 };
static struct watch watch;
static int asked;

static void fill(void **where)
{
    watch_fill(&watch, where, OBJECTS);
}

static int GC_CALLBACK has_roots(const char *name, void *start, size_t size)
{
    (void)start;
    (void)size;
    if (name && strstr(name, "libgc-library")) {
        asked++;
        return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    char path[4096];
    (void)argc;
    (void)argv;
    snprintf(path, sizeof path, "%s/libgc-library.so", getenv("LIBGC_TEST_BIN"));
    GC_INIT();
    void *library = dlopen(path, RTLD_NOW);
    if (!library) {
        say("dlopen: %s", dlerror());
        return 1;
    }
    void **data = dlsym(library, "library_data"), **bss = dlsym(library, "library_bss");
    void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(library, "library_allocate");
    fill(data);
    collect();
    say("data: %s", watch_amount(&watch));
    memset(data, 0, OBJECTS * sizeof *data);
    fill(bss);
    collect();
    say("bss: %s", watch_amount(&watch));
    memset(bss, 0, OBJECTS * sizeof *bss);
    collect();
    say("cleared: %s", watch_amount(&watch));
    say("allocated there: %d", GC_base(allocate(10)) != NULL);
    fill(data);
    dlclose(library);
    collect();
    say("unloaded: %s", watch_amount(&watch));
    /* Again, with a filter that leaves it out. */
    GC_register_has_static_roots_callback(has_roots);
    library = dlopen(path, RTLD_NOW);
    data = dlsym(library, "library_data");
    fill(data);
    collect();
    say("filtered: %s, asked: %d", watch_amount(&watch), asked > 0);
    GC_register_has_static_roots_callback(NULL);
    return 0;
}
