/* gc_allocator.h: allocators for C++ containers.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * gc_allocator<T>: collected memory, not scanned if T is declared free of pointers; gc_allocator_ignore_off_page<T>: the same
 * for large arrays whose beginning stays referenced; traceable_allocator<T>: scanned but not collected, for containers that
 * lie in memory of their own. */
#ifndef GC_ALLOCATOR_H
#define GC_ALLOCATOR_H
#include "gc.h"
#include <new>

#if defined(GC_NEW_ABORTS_ON_OOM) || defined(_LIBCPP_NO_EXCEPTIONS)
#define GC_ALLOCATOR_THROW_OR_ABORT() GC_abort_on_oom()
#else
#define GC_ALLOCATOR_THROW_OR_ABORT() throw std::bad_alloc()
#endif

struct GC_true_type {};
struct GC_false_type {};

/* Whether a type holds no pointers. GC_DECLARE_PTRFREE(T); says so of T. */
template <class GC_tp> struct GC_type_traits {
    GC_false_type GC_is_ptr_free;
};
#define GC_DECLARE_PTRFREE(T) \
    template <> struct GC_type_traits<T> { \
        GC_true_type GC_is_ptr_free; \
    }
GC_DECLARE_PTRFREE(char);
GC_DECLARE_PTRFREE(signed char);
GC_DECLARE_PTRFREE(unsigned char);
GC_DECLARE_PTRFREE(signed short);
GC_DECLARE_PTRFREE(unsigned short);
GC_DECLARE_PTRFREE(signed int);
GC_DECLARE_PTRFREE(unsigned int);
GC_DECLARE_PTRFREE(signed long);
GC_DECLARE_PTRFREE(unsigned long);
GC_DECLARE_PTRFREE(float);
GC_DECLARE_PTRFREE(double);
GC_DECLARE_PTRFREE(long double);

template <class GC_Tp> inline void *GC_selective_alloc(size_t n, GC_Tp, bool ignore_off_page)
{
    void *obj = ignore_off_page ? GC_MALLOC_IGNORE_OFF_PAGE(n) : GC_MALLOC(n);
    if (obj == 0)
        GC_ALLOCATOR_THROW_OR_ABORT();
    return obj;
}
template <> inline void *GC_selective_alloc<GC_true_type>(size_t n, GC_true_type, bool ignore_off_page)
{
    void *obj = ignore_off_page ? GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(n) : GC_MALLOC_ATOMIC(n);
    if (obj == 0)
        GC_ALLOCATOR_THROW_OR_ABORT();
    return obj;
}

/* What the three allocators have in common. `ALLOCATE(n)` gives n bytes for objects of GC_Tp, or throws. */
#define GC_DEFINE_ALLOCATOR_(NAME, ALLOCATE) \
    template <class GC_Tp> class NAME { \
    public: \
        typedef size_t size_type; \
        typedef ptrdiff_t difference_type; \
        typedef GC_Tp *pointer; \
        typedef const GC_Tp *const_pointer; \
        typedef GC_Tp &reference; \
        typedef const GC_Tp &const_reference; \
        typedef GC_Tp value_type; \
        template <class GC_Tp1> struct rebind { \
            typedef NAME<GC_Tp1> other; \
        }; \
        NAME() GC_NOEXCEPT {} \
        NAME(const NAME &) GC_NOEXCEPT {} \
        template <class GC_Tp1> GC_ATTR_EXPLICIT NAME(const NAME<GC_Tp1> &) GC_NOEXCEPT {} \
        ~NAME() GC_NOEXCEPT {} \
        pointer address(reference x) const { return &x; } \
        const_pointer address(const_reference x) const { return &x; } \
        GC_Tp *allocate(size_type n, const void * = 0) { return static_cast<GC_Tp *>(ALLOCATE(n * sizeof(GC_Tp))); } \
        void deallocate(pointer p, size_type) GC_NOEXCEPT { GC_FREE(p); } \
        size_type max_size() const GC_NOEXCEPT { return size_t(-1) / sizeof(GC_Tp); } \
        void construct(pointer p, const GC_Tp &value) { new (p) GC_Tp(value); } \
        void destroy(pointer p) { p->~GC_Tp(); } \
    }; \
    template <> class NAME<void> { \
    public: \
        typedef size_t size_type; \
        typedef ptrdiff_t difference_type; \
        typedef void *pointer; \
        typedef const void *const_pointer; \
        typedef void value_type; \
        template <class GC_Tp1> struct rebind { \
            typedef NAME<GC_Tp1> other; \
        }; \
    }; \
    template <class GC_T1, class GC_T2> inline bool operator==(const NAME<GC_T1> &, const NAME<GC_T2> &) GC_NOEXCEPT \
    { \
        return true; \
    } \
    template <class GC_T1, class GC_T2> inline bool operator!=(const NAME<GC_T1> &, const NAME<GC_T2> &) GC_NOEXCEPT \
    { \
        return false; \
    }

inline void *GC_traceable_alloc_(size_t n)
{
    void *obj = GC_MALLOC_UNCOLLECTABLE(n);
    if (obj == 0)
        GC_ALLOCATOR_THROW_OR_ABORT();
    return obj;
}
#define GC_COLLECTED_(n) GC_selective_alloc(n, GC_type_traits<GC_Tp>().GC_is_ptr_free, false)
#define GC_COLLECTED_IGNORE_OFF_PAGE_(n) GC_selective_alloc(n, GC_type_traits<GC_Tp>().GC_is_ptr_free, true)
GC_DEFINE_ALLOCATOR_(gc_allocator, GC_COLLECTED_)
GC_DEFINE_ALLOCATOR_(gc_allocator_ignore_off_page, GC_COLLECTED_IGNORE_OFF_PAGE_)
GC_DEFINE_ALLOCATOR_(traceable_allocator, GC_traceable_alloc_)

#endif
