/* gc_cpp.h and gc_allocator.h: placements, destructors, containers, and finalizers that throw. */
#define GC_ATOMIC_UNCOLLECTABLE
#include "oracle.h"
#include <gc/gc_allocator.h>
#include <gc/gc_cpp.h>
#include <gc/gc_mark.h>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

static long destroyed, cleaned;

struct plain : public gc {
    long value = 7;
    plain *next = nullptr;
};
struct cleanup : public gc_cleanup {
    long value = 9;
    ~cleanup() { destroyed += value == 9; }
};
struct base {
    virtual ~base() {}
    long filler[3] = {1, 2, 3};
};
struct derived : public base, public gc_cleanup {
    long value = 11;
    ~derived() { destroyed += value == 11; }
};
struct failing : public gc {
    failing() { throw std::runtime_error("constructor"); }
};

extern "C" void GC_CALLBACK clean(void *object, void *data)
{
    cleaned += *static_cast<long *>(object) == 5 && data == &cleaned;
}
extern "C" void GC_CALLBACK throwing(void *, void *) { throw std::runtime_error("finalizer"); }

NOINLINE static void make()
{
    for (int i = 0; i < 50; i++) {
        new cleanup;
        new derived;
        long *number = new (GC, clean, &cleaned) long;
        *number = 5;
    }
    clear_stack();
}

NOINLINE static void make_throwing()
{
    for (int i = 0; i < 10; i++)
        GC_register_finalizer(GC_MALLOC(24), throwing, nullptr, nullptr, nullptr);
    clear_stack();
}

template <class T> static int kind(T *p) { return GC_get_kind_and_size(GC_base(p), nullptr); }

typedef std::basic_string<char, std::char_traits<char>, gc_allocator<char>> text;

int main()
{
    GC_INIT();
    GC_set_finalize_on_demand(1);
    plain *object = new plain;
    say("class: %ld, kind %d", object->value, kind(object));
    say("placements: %d %d %d %d", kind(new (GC) plain), kind(new (NoGC) plain), kind(new (PointerFreeGC) long[10]),
        kind(new (PointerFreeNoGC) long));
    char place[sizeof(plain)];
    say("in place: %d", reinterpret_cast<char *>(new (place) plain) == place);
    plain *array = new plain[10];
    say("array: %ld, kind %d", array[9].value, kind(array));
    delete[] array;
    delete object;
    cleanup *explicitly = new cleanup;
    delete explicitly;
    say("deleted: %ld", destroyed);
    try {
        new failing;
    } catch (const std::runtime_error &error) {
        say("thrown by a %s", error.what());
    }
    /* libgccpp makes the plain operators give memory that is scanned. */
    void *ordinary = ::operator new(100);
    say("operator new: %d", GC_base(ordinary) == ordinary);
    ::operator delete(ordinary);
    ordinary = ::operator new[](100);
    say("operator new[]: %d", GC_base(ordinary) == ordinary);
    ::operator delete[](ordinary);
    try {
        volatile size_t much = static_cast<size_t>(1) << 60;
        GC_set_warn_proc(GC_ignore_warn_proc);
        say("too much: %d", ::operator new(much) != nullptr);
    } catch (const std::bad_alloc &) {
        say("bad_alloc");
    }
    destroyed = 0;
    make();
    settle();
    say("destroyed: %s, cleaned: %s", amount(destroyed, 100), amount(cleaned, 50));

    std::vector<plain *, gc_allocator<plain *>> *objects = new (GC) std::vector<plain *, gc_allocator<plain *>>;
    std::map<int, text, std::less<int>, traceable_allocator<std::pair<const int, text>>> texts;
    for (int i = 0; i < 2000; i++) {
        objects->push_back(new plain);
        objects->back()->value = i;
        texts[i % 100] = text("a text that is long enough for memory of its own ") + static_cast<char>('a' + i % 26);
        if (i % 500 == 0)
            GC_gcollect();
    }
    long sum = 0, letters = 0;
    for (plain *p : *objects)
        sum += p->value;
    for (const auto &entry : texts)
        letters += entry.second.back();
    say("vector: %ld, map: %ld", sum, letters);
    std::vector<double, gc_allocator_ignore_off_page<double>> numbers(100000, 1.5);
    say("numbers: %d, kind %d", static_cast<int>(numbers[99999] * 2), kind(&numbers[0]));
    say("equal: %d", gc_allocator<int>() == gc_allocator<long>());

    make_throwing();
    collect();
    int caught = 0;
    for (int i = 0; i < 20; i++)
        try {
            GC_invoke_finalizers();
        } catch (const std::runtime_error &error) {
            caught++;
        }
    say("thrown by finalizers: %d", caught >= 5 && caught <= 10);
    say("still works: %d", GC_MALLOC(10) != nullptr);
    return 0;
}
