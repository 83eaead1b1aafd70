/* gc_cpp.h: collected objects in C++.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * `class A : public gc` makes `new A` a collected object; `public gc_cleanup` has its destructor run when it is reclaimed, too.
 * Anything can be placed: `new (GC) T`, `new (GC, cleanup, data) T`, `new (PointerFreeGC) T[n]`, `new (NoGC) T` (stays until it
 * is deleted). With libgccpp the plain operators new and delete use uncollectable memory.
 *
 * GC_NAME_CONFLICT leaves the name GC out, GC_NAMESPACE puts the names into namespace boehmgc, GC_INCLUDE_NEW includes <new>,
 * GC_NEW_ABORTS_ON_OOM ends the program where std::bad_alloc would be thrown. The destructors of the elements of a collected
 * array are not run. */
#ifndef GC_CPP_H
#define GC_CPP_H
#include "gc.h"

#ifdef GC_NAMESPACE
#define GC_NS_QUALIFY(T) boehmgc::T
#else
#define GC_NS_QUALIFY(T) T
#endif
#define GC_cdecl GC_CALLBACK
#if !defined(GC_NO_OPERATOR_NEW_ARRAY) && !defined(GC_OPERATOR_NEW_ARRAY)
#define GC_OPERATOR_NEW_ARRAY
#endif
#define GC_PLACEMENT_DELETE

#if defined(GC_NEW_ABORTS_ON_OOM) || defined(_LIBCPP_NO_EXCEPTIONS)
#define GC_OP_NEW_OOM_CHECK(obj) \
    do { \
        if (!(obj)) \
            GC_abort_on_oom(); \
    } while (0)
#elif defined(GC_INCLUDE_NEW)
#include <new>
#define GC_OP_NEW_OOM_CHECK(obj) \
    do { \
        if (!(obj)) \
            throw std::bad_alloc(); \
    } while (0)
#else
GC_API void GC_CALL GC_throw_bad_alloc();
#define GC_OP_NEW_OOM_CHECK(obj) \
    do { \
        if (!(obj)) \
            GC_throw_bad_alloc(); \
    } while (0)
#endif

#ifdef GC_NAMESPACE
namespace boehmgc {
#endif

/* Where an object is placed. */
enum GCPlacement {
    UseGC,
#ifndef GC_NAME_CONFLICT
    GC = UseGC,
#endif
    NoGC,
    PointerFreeGC
#ifdef GC_ATOMIC_UNCOLLECTABLE
    ,
    PointerFreeNoGC
#endif
};

extern "C" {
typedef void(GC_CALLBACK *GCCleanUpFunc)(void *obj, void *clientData);
}

/* Base of classes whose objects are collected. */
class gc {
public:
    inline void *operator new(size_t size);
    inline void *operator new(size_t size, GCPlacement placement);
    inline void *operator new(size_t size, void *place) GC_NOEXCEPT;
    inline void operator delete(void *obj) GC_NOEXCEPT;
    inline void operator delete(void *obj, GCPlacement placement) GC_NOEXCEPT;
    inline void operator delete(void *obj, void *place) GC_NOEXCEPT;
#ifdef GC_OPERATOR_NEW_ARRAY
    inline void *operator new[](size_t size);
    inline void *operator new[](size_t size, GCPlacement placement);
    inline void *operator new[](size_t size, void *place) GC_NOEXCEPT;
    inline void operator delete[](void *obj) GC_NOEXCEPT;
    inline void operator delete[](void *obj, GCPlacement placement) GC_NOEXCEPT;
    inline void operator delete[](void *obj, void *place) GC_NOEXCEPT;
#endif
};

/* Base of classes whose destructor runs when an object is reclaimed. */
class gc_cleanup : virtual public gc {
public:
    inline gc_cleanup();
    inline virtual ~gc_cleanup();

private:
    inline static void GC_cdecl cleanup(void *obj, void *clientData);
};

#ifdef GC_NAMESPACE
}
#endif

inline void *operator new(size_t size, GC_NS_QUALIFY(GCPlacement) placement, GC_NS_QUALIFY(GCCleanUpFunc) cleanup = 0,
                          void *clientData = 0);
inline void operator delete(void *obj, GC_NS_QUALIFY(GCPlacement) placement, GC_NS_QUALIFY(GCCleanUpFunc) cleanup,
                            void *clientData) GC_NOEXCEPT;
#ifdef GC_OPERATOR_NEW_ARRAY
inline void *operator new[](size_t size, GC_NS_QUALIFY(GCPlacement) placement, GC_NS_QUALIFY(GCCleanUpFunc) cleanup = 0,
                            void *clientData = 0);
inline void operator delete[](void *obj, GC_NS_QUALIFY(GCPlacement) placement, GC_NS_QUALIFY(GCCleanUpFunc) cleanup,
                              void *clientData) GC_NOEXCEPT;
#endif

#ifdef GC_NAMESPACE
namespace boehmgc {
#endif

inline void *gc::operator new(size_t size) { return operator new(size, UseGC); }

inline void *gc::operator new(size_t size, GCPlacement placement)
{
    void *obj;
    switch (placement) {
    case UseGC:
        obj = GC_MALLOC(size);
        break;
    case PointerFreeGC:
        obj = GC_MALLOC_ATOMIC(size);
        break;
#ifdef GC_ATOMIC_UNCOLLECTABLE
    case PointerFreeNoGC:
        obj = GC_MALLOC_ATOMIC_UNCOLLECTABLE(size);
        break;
#endif
    case NoGC:
    default:
        obj = GC_MALLOC_UNCOLLECTABLE(size);
    }
    GC_OP_NEW_OOM_CHECK(obj);
    return obj;
}

inline void *gc::operator new(size_t, void *place) GC_NOEXCEPT { return place; }
inline void gc::operator delete(void *obj) GC_NOEXCEPT { GC_FREE(obj); }
inline void gc::operator delete(void *obj, GCPlacement) GC_NOEXCEPT { GC_FREE(obj); }
inline void gc::operator delete(void *, void *) GC_NOEXCEPT {}
#ifdef GC_OPERATOR_NEW_ARRAY
inline void *gc::operator new[](size_t size) { return gc::operator new(size); }
inline void *gc::operator new[](size_t size, GCPlacement placement) { return gc::operator new(size, placement); }
inline void *gc::operator new[](size_t, void *place) GC_NOEXCEPT { return place; }
inline void gc::operator delete[](void *obj) GC_NOEXCEPT { GC_FREE(obj); }
inline void gc::operator delete[](void *obj, GCPlacement) GC_NOEXCEPT { GC_FREE(obj); }
inline void gc::operator delete[](void *, void *) GC_NOEXCEPT {}
#endif

/* The data of the finalizer is where in the heap object the gc_cleanup part lies. */
inline void GC_CALLBACK gc_cleanup::cleanup(void *obj, void *offset)
{
    reinterpret_cast<gc_cleanup *>(static_cast<char *>(obj) + reinterpret_cast<ptrdiff_t>(offset))->~gc_cleanup();
}

/* Of several parts with a destructor in one heap object, the one that was constructed first has its finalizer kept. */
inline gc_cleanup::gc_cleanup()
{
#ifndef GC_NO_FINALIZATION
    void *self = static_cast<void *>(this);
    void *base = GC_base(self);
    if (base != 0) {
        GC_finalization_proc before = 0;
        void *data = 0;
        ptrdiff_t offset = static_cast<char *>(self) - static_cast<char *>(base);
        GC_register_finalizer_ignore_self(base, cleanup, reinterpret_cast<void *>(offset), &before, &data);
        if (before != 0)
            GC_register_finalizer_ignore_self(base, before, data, 0, 0);
    }
#endif
}

inline gc_cleanup::~gc_cleanup()
{
#ifndef GC_NO_FINALIZATION
    void *base = GC_base(static_cast<void *>(this));
    if (base != 0)
        GC_register_finalizer_ignore_self(base, 0, 0, 0, 0);
#endif
}

#ifdef GC_NAMESPACE
}
#endif

inline void *operator new(size_t size, GC_NS_QUALIFY(GCPlacement) placement, GC_NS_QUALIFY(GCCleanUpFunc) cleanup,
                          void *clientData)
{
    void *obj = GC_NS_QUALIFY(gc)::operator new(size, placement);
#ifndef GC_NO_FINALIZATION
    if (cleanup != 0 && placement == GC_NS_QUALIFY(UseGC))
        GC_REGISTER_FINALIZER_IGNORE_SELF(obj, cleanup, clientData, 0, 0);
#else
    (void)cleanup;
    (void)clientData;
#endif
    return obj;
}

/* Called when the constructor throws. */
inline void operator delete(void *obj, GC_NS_QUALIFY(GCPlacement), GC_NS_QUALIFY(GCCleanUpFunc), void *) GC_NOEXCEPT
{
    GC_FREE(obj);
}

#ifdef GC_OPERATOR_NEW_ARRAY
inline void *operator new[](size_t size, GC_NS_QUALIFY(GCPlacement) placement, GC_NS_QUALIFY(GCCleanUpFunc) cleanup,
                            void *clientData)
{
    return ::operator new(size, placement, cleanup, clientData);
}

inline void operator delete[](void *obj, GC_NS_QUALIFY(GCPlacement), GC_NS_QUALIFY(GCCleanUpFunc), void *) GC_NOEXCEPT
{
    GC_FREE(obj);
}
#endif

#endif
