// operator new and delete in all forms, and containers on top of them.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

static volatile std::size_t sizes[] = {0, 1, 8, 16, 24, 100, 1000, 5000, 40000, 300000, 3000000};
static volatile std::size_t huge = PTRDIFF_MAX;

// Built before main: constructors of static objects allocate.
static std::map<std::string, std::vector<int>> early = {{"one", {1, 2, 3}}, {"two", {4, 5}}};

struct alignas(256) Wide {
    char bytes[700];
};

struct Thrower {
    std::string text = "constructed before the exception, long enough to be on the heap";
    Thrower() { throw std::runtime_error("from the constructor"); }
};

static int handled;

static void new_handler()
{
    if (++handled == 3)
        std::set_new_handler(nullptr);
}

static bool aligned(void *p, std::size_t to) { return reinterpret_cast<std::uintptr_t>(p) % to == 0; }

static void plain_forms()
{
    for (std::size_t size : sizes) {
        void *p = ::operator new(size), *q = ::operator new(size);
        CHECK(p && q && p != q);
        memset(p, 1, size);
        ::operator delete(p);
        ::operator delete(q, size);
        p = ::operator new[](size);
        q = ::operator new[](size);
        CHECK(p && q && p != q);
        memset(q, 1, size);
        ::operator delete[](p);
        ::operator delete[](q, size);
        p = ::operator new(size, std::nothrow);
        q = ::operator new[](size, std::nothrow);
        CHECK(p && q && p != q);
        ::operator delete(p, std::nothrow);
        ::operator delete[](q, std::nothrow);
    }
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
}

static void aligned_forms()
{
    for (std::size_t to = 1; to <= 1 << 20; to *= 2) {
        std::align_val_t alignment{to};
        for (std::size_t size : sizes) {
            void *p = ::operator new(size, alignment), *q = ::operator new[](size, alignment);
            void *r = ::operator new(size, alignment, std::nothrow);
            void *s = ::operator new[](size, alignment, std::nothrow);
            CHECK(p && q && r && s && aligned(p, to) && aligned(q, to) && aligned(r, to) && aligned(s, to));
            memset(p, 1, size);
            memset(s, 1, size);
            ::operator delete(p, alignment);
            ::operator delete[](q, alignment);
            ::operator delete(r, alignment, std::nothrow);
            ::operator delete[](s, alignment, std::nothrow);
            p = ::operator new(size, alignment);
            q = ::operator new[](size, alignment);
            ::operator delete(p, size, alignment);
            ::operator delete[](q, size, alignment);
        }
    }
    std::vector<std::unique_ptr<Wide>> wides;
    for (int i = 0; i < 100; i++) {
        wides.push_back(std::make_unique<Wide>());
        CHECK(aligned(wides.back().get(), 256));
    }
}

static void failures()
{
    bool thrown = false;
    try {
        ::operator delete(::operator new(huge));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
    thrown = false;
    try {
        ::operator delete[](::operator new[](huge, std::align_val_t{64}), std::align_val_t{64});
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(::operator new(huge, std::nothrow) == nullptr);
    CHECK(::operator new[](huge, std::align_val_t{64}, std::nothrow) == nullptr);
    thrown = false;
    try {
        delete[] new int[huge];
    } catch (const std::bad_array_new_length &) {
        thrown = true;
    }
    CHECK(thrown);
    std::set_new_handler(new_handler);
    CHECK(::operator new(huge, std::nothrow) == nullptr);
    CHECK(handled == 3);
    thrown = false;
    try {
        delete new Thrower;
    } catch (const std::runtime_error &) {
        thrown = true;
    }
    CHECK(thrown);
}

static void containers()
{
    std::unordered_map<int, std::string> names;
    std::list<std::vector<double>> numbers;
    std::map<std::string, std::shared_ptr<std::string>> shared;
    for (int i = 0; i < 50000; i++) {
        names[i] = "name number " + std::to_string(i) + " with some length";
        if (i % 10 == 0)
            numbers.emplace_back(i % 300, i);
        if (i % 3 == 0)
            names.erase(i / 2);
        shared[std::to_string(i % 1000)] = std::make_shared<std::string>(100, char('a' + i % 26));
    }
    std::size_t total = 0;
    for (auto &entry : names)
        CHECK(entry.second == "name number " + std::to_string(entry.first) + " with some length");
    for (auto &entry : numbers)
        total += entry.size();
    CHECK(total > 0);
    for (auto &entry : shared)
        CHECK(entry.second->size() == 100);
}

int main()
{
    CHECK(early.size() == 2 && early["one"][2] == 3);
    plain_forms();
    aligned_forms();
    failures();
    containers();
    puts("ok");
}
