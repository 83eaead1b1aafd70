// A program that replaces only the plain forms, with a header in front of each block: every other form must use them.
#include <cstdio>
#include <cstdlib>
#include <new>

static int live;
void *operator new(std::size_t n) {
    char *p = static_cast<char *>(std::malloc(n + 32));
    if (!p) throw std::bad_alloc();
    ++live;
    return p + 32;
}
void operator delete(void *p) noexcept {
    if (!p) return;
    --live;
    std::free(static_cast<char *>(p) - 32);
}
struct Item { long a, b; ~Item() { a = 0; } };
#define CHECK(x) do { if (!(x)) { std::printf("line %d: %s (live %d)\n", __LINE__, #x, live); std::exit(1); } } while (0)

int main() {
    Item *a = new Item, *b = new Item[7], *c = new (std::nothrow) Item;
    char *d = new char[100], *e = new (std::nothrow) char[10];
    CHECK(live == 5);
    operator delete(a, sizeof(Item));
    delete[] b;
    operator delete(c, std::nothrow);
    operator delete[](d, std::size_t(100));
    operator delete[](e, std::nothrow);
    CHECK(live == 0);
    std::puts("ok");
}
