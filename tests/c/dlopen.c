/* dlopen CASE DIR: modules with thread-local data as the only place of pointers, after the surplus of
 * static TLS is used up; modules that are closed again. */
#include "check.h"
#include <dlfcn.h>
#include <pthread.h>

enum { N = 64, MODULES = 60 };

static const char *dir;

static void *open_module(const char *name, int number)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%d.so", dir, name, number);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void exhaust_static_tls(void)
{
    int opened = 0;
    for (; opened < MODULES; opened++)
        if (!open_module("static", opened))
            break;
    CHECK(opened < MODULES);
    const char *error = dlerror();
    CHECK(error && strstr(error, "static TLS"));
}

static uintptr_t *place_of(void *module, const char *name)
{
    uintptr_t *(*place)(void) = (uintptr_t * (*)(void)) dlsym(module, name);
    CHECK(place);
    return place();
}

NOINLINE static void fill(uintptr_t *place)
{
    for (int i = 0; i < N; i++)
        place[i] = (uintptr_t)item_new(i);
    clear_stack();
}

static void verify(uintptr_t *place)
{
    for (int i = 0; i < N; i++)
        CHECK(item_intact((struct item *)place[i], i));
}

static pthread_barrier_t barrier;

static void *in_thread(void *module)
{
    uintptr_t *place = place_of(module, "dynamic_tls");
    fill(place);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    verify(place);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    dir = argc > 2 ? argv[2] : ".";
    if (!strcmp(name, "exhausted"))
        exhaust_static_tls();
    else
        CHECK(!strcmp(name, "plain"));
    pthread_t threads[3];
    void *modules[3];
    controls_make();
    CHECK(pthread_barrier_init(&barrier, NULL, 4) == 0);
    for (int i = 0; i < 3; i++) {
        modules[i] = open_module("dynamic", i);
        CHECK(modules[i]);
        fill(place_of(modules[i], "dynamic_tls"));
        fill(place_of(modules[i], "module_data"));
        CHECK(pthread_create(&threads[i], NULL, in_thread, modules[i]) == 0);
    }
    pthread_barrier_wait(&barrier);
    collect();
    controls_check();
    overwrite_freed();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        verify(place_of(modules[i], "dynamic_tls"));
        verify(place_of(modules[i], "module_data"));
    }
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 3; i++)
            CHECK(dlclose(modules[i]) == 0);
        if (round % 10 == 0)
            collect();
        for (int i = 0; i < 3; i++)
            CHECK((modules[i] = open_module("dynamic", (i + round) % 10)) != NULL);
    }
    collect();
    puts("ok");
    return 0;
}
