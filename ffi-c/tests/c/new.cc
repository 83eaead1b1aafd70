// Every form of operator new and delete; failing ones call the new handler and throw or return null.
#include <cstdio>
#include <cstdlib>
#include <cstdint>
#include <new>

static int handler_calls;
static void *reserve;
static void handler() {
    if (++handler_calls == 3) std::set_new_handler(nullptr);
}
struct Thrown {};
static void throwing_handler() { throw Thrown(); }
struct alignas(256) Wide { char c[256]; };
#define CHECK(x) do { if (!(x)) { std::printf("line %d: %s\n", __LINE__, #x); std::exit(1); } } while (0)

int main() {
    volatile std::size_t huge = SIZE_MAX / 2 - 4096;
    int *one = new int(5);
    CHECK(*one == 5);
    delete one;
    int *many = new int[1000]();
    delete[] many;
    Wide *wide = new Wide, *wides = new Wide[3];
    CHECK(reinterpret_cast<uintptr_t>(wide) % 256 == 0 && reinterpret_cast<uintptr_t>(wides) % 256 == 0);
    delete wide;
    delete[] wides;
    char *quiet = new (std::nothrow) char[10];
    CHECK(quiet);
    operator delete[](quiet, std::nothrow);
    void *p = operator new(0), *q = operator new(0);
    CHECK(p && q && p != q);
    operator delete(p, std::size_t(0));
    operator delete(q, std::nothrow);
    operator delete(operator new(64, std::align_val_t(64), std::nothrow), std::align_val_t(64), std::nothrow);
    operator delete[](operator new[](64, std::align_val_t(64), std::nothrow), std::align_val_t(64), std::nothrow);
    operator delete(operator new(64, std::align_val_t(64)), 64, std::align_val_t(64));
    operator delete[](operator new[](64, std::align_val_t(64)), 64, std::align_val_t(64));
    operator delete(nullptr);

    int caught = 0;
    try { operator new(huge); } catch (std::bad_alloc &) { caught |= 1; }
    try { operator new[](huge); } catch (std::bad_alloc &) { caught |= 2; }
    try { operator new(huge, std::align_val_t(64)); } catch (std::bad_alloc &) { caught |= 4; }
    try { operator new[](huge, std::align_val_t(64)); } catch (std::bad_alloc &) { caught |= 8; }
    CHECK(caught == 15);
    CHECK(!operator new(huge, std::nothrow) && !operator new[](huge, std::nothrow));
    CHECK(!operator new(huge, std::align_val_t(64), std::nothrow));
    CHECK(!operator new[](huge, std::align_val_t(64), std::nothrow));
    std::set_new_handler(handler);
    try { operator new(huge); CHECK(false); } catch (std::bad_alloc &) {}
    CHECK(handler_calls == 3);
    std::set_new_handler(throwing_handler);
    try { operator new[](huge); CHECK(false); } catch (Thrown &) {}
    CHECK(!operator new(huge, std::nothrow));
    std::puts("ok");
    (void)reserve;
}
