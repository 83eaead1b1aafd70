// DUNEGC_RECLAIM_ONLY: argv[1] is a library whose blocks are reclaimed, argv[2] one whose blocks stay.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <dunegc.h>

constexpr int COUNT = 1000;
using Lose = void (*)(std::uintptr_t *, int);
static std::uintptr_t listed[COUNT], other[COUNT], own[COUNT];

__attribute__((noinline)) static void wipe() {
    volatile char stack[16384];
    for (unsigned i = 0; i < sizeof stack; i++) stack[i] = 0;
}
__attribute__((noinline)) static void lose_by_new() {
    for (auto &h : own) h = ~reinterpret_cast<std::uintptr_t>(new char[3000]);
}
static int alive(std::uintptr_t *hidden) {
    int n = 0;
    for (int i = 0; i < COUNT; i++) n += dunegc_base(reinterpret_cast<void *>(~hidden[i])) != nullptr;
    return n;
}
static Lose load(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    if (!library) { std::puts(dlerror()); std::exit(1); }
    return reinterpret_cast<Lose>(dlsym(library, "lose"));
}
int main(int, char **argv) {
    load(argv[1])(listed, COUNT);
    load(argv[2])(other, COUNT);
    lose_by_new();
    for (int i = 0; i < 4; i++) {
        wipe();
        if (dunegc_collect() != 0) std::perror("dunegc_collect");
    }
    std::printf("listed %d other %d own %d\n", alive(listed), alive(other), alive(own));
}
