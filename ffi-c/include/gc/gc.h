/* gc.h: the basic interface of the Boehm-Demers-Weiser collector, provided by libdunegc.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Source compatible with programs that use these calls and macros. What differs is told in docs/boehm.md. */
#ifndef DUNEGC_GC_H
#define DUNEGC_GC_H
#include <stddef.h>
#include <stdint.h>
#include <wchar.h>
#ifdef __cplusplus
extern "C" {
#endif

#define GC_VERSION_MAJOR 8
#define GC_VERSION_MINOR 2
#define GC_VERSION_MICRO 0
#define GC_API
#define GC_CALL
#define GC_CALLBACK
#define GC_THREADS 1

typedef unsigned long GC_word;
typedef long GC_signed_word;

/* Set-up. Not needed; harmless. */
void GC_init(void);
int GC_is_init_called(void);
void GC_deinit(void);
unsigned GC_get_version(void);
#define GC_INIT() GC_init()

/* Allocation. GC_malloc and the uncollectable form give zeroed memory, the atomic ones do not. */
void *GC_malloc(size_t);
void *GC_malloc_atomic(size_t);
void *GC_malloc_uncollectable(size_t);
void *GC_malloc_atomic_uncollectable(size_t);
void *GC_malloc_ignore_off_page(size_t);
void *GC_malloc_atomic_ignore_off_page(size_t);
void *GC_malloc_stubborn(size_t);
void *GC_realloc(void *, size_t);
void GC_free(void *);
void *GC_memalign(size_t align, size_t);
int GC_posix_memalign(void **, size_t align, size_t);
char *GC_strdup(const char *);
char *GC_strndup(const char *, size_t);
wchar_t *GC_wcsdup(const wchar_t *);

#define GC_MALLOC(n) GC_malloc(n)
#define GC_MALLOC_ATOMIC(n) GC_malloc_atomic(n)
#define GC_MALLOC_UNCOLLECTABLE(n) GC_malloc_uncollectable(n)
#define GC_MALLOC_ATOMIC_UNCOLLECTABLE(n) GC_malloc_atomic_uncollectable(n)
#define GC_MALLOC_IGNORE_OFF_PAGE(n) GC_malloc_ignore_off_page(n)
#define GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(n) GC_malloc_atomic_ignore_off_page(n)
#define GC_MALLOC_STUBBORN(n) GC_malloc_stubborn(n)
#define GC_REALLOC(p, n) GC_realloc(p, n)
#define GC_FREE(p) GC_free(p)
#define GC_STRDUP(s) GC_strdup(s)
#define GC_STRNDUP(s, n) GC_strndup(s, n)
#define GC_WCSDUP(s) GC_wcsdup(s)
#define GC_NEW(t) ((t *)GC_MALLOC(sizeof(t)))
#define GC_NEW_ATOMIC(t) ((t *)GC_MALLOC_ATOMIC(sizeof(t)))
#define GC_NEW_UNCOLLECTABLE(t) ((t *)GC_MALLOC_UNCOLLECTABLE(sizeof(t)))
#define GC_NEW_STUBBORN(t) GC_NEW(t)
#define GC_END_STUBBORN_CHANGE(p) ((void)(p))
#define GC_CHANGE_STUBBORN(p) ((void)(p))

/* Objects. */
void *GC_base(void *);
size_t GC_size(const void *);
int GC_is_heap_ptr(const void *);

/* Collections. */
typedef int (*GC_stop_func)(void);
void GC_gcollect(void);
void GC_gcollect_and_unmap(void);
int GC_try_to_collect(GC_stop_func);
int GC_collect_a_little(void);
void GC_disable(void);
void GC_enable(void);
int GC_is_disabled(void);
typedef void *(*GC_fn_type)(void *);
void *GC_call_with_alloc_lock(GC_fn_type, void *);

/* Figures in bytes. */
size_t GC_get_heap_size(void);
size_t GC_get_free_bytes(void);
size_t GC_get_unmapped_bytes(void);
size_t GC_get_bytes_since_gc(void);
size_t GC_get_total_bytes(void);
size_t GC_get_memory_use(void);
GC_word GC_get_gc_no(void);
void GC_get_heap_usage_safe(GC_word *heap, GC_word *free, GC_word *unmapped, GC_word *since_gc, GC_word *total);

/* Roots. */
void GC_add_roots(void *lo, void *hi);
void GC_remove_roots(void *lo, void *hi);
void GC_exclude_static_roots(void *lo, void *hi);

/* Finalizers. They run on the thread that collected, at the end of the collecting call, unless on demand. */
typedef void (*GC_finalization_proc)(void *object, void *data);
typedef void (*GC_finalizer_notifier_proc)(void);
void GC_register_finalizer(void *, GC_finalization_proc, void *data, GC_finalization_proc *old, void **old_data);
void GC_register_finalizer_ignore_self(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
void GC_register_finalizer_no_order(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
void GC_register_finalizer_unreachable(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
#define GC_REGISTER_FINALIZER(p, f, d, of, od) GC_register_finalizer(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_IGNORE_SELF(p, f, d, of, od) GC_register_finalizer_ignore_self(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_NO_ORDER(p, f, d, of, od) GC_register_finalizer_no_order(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_UNREACHABLE(p, f, d, of, od) GC_register_finalizer_unreachable(p, f, d, of, od)
int GC_invoke_finalizers(void);
int GC_should_invoke_finalizers(void);
void GC_set_finalize_on_demand(int);
int GC_get_finalize_on_demand(void);
void GC_set_java_finalization(int);
int GC_get_java_finalization(void);
void GC_set_finalizer_notifier(GC_finalizer_notifier_proc);
GC_finalizer_notifier_proc GC_get_finalizer_notifier(void);

/* Disappearing links. */
#define GC_SUCCESS 0
#define GC_DUPLICATE 1
#define GC_NO_MEMORY 2
#define GC_UNIMPLEMENTED 3
#define GC_NOT_FOUND 4
int GC_register_disappearing_link(void **link);
int GC_general_register_disappearing_link(void **link, const void *object);
int GC_unregister_disappearing_link(void **link);
int GC_move_disappearing_link(void **link, void **to);
#define GC_REGISTER_DISAPPEARING_LINK(l) GC_register_disappearing_link(l)
#define GC_GENERAL_REGISTER_DISAPPEARING_LINK(l, p) GC_general_register_disappearing_link(l, p)
typedef GC_word GC_hidden_pointer;
#define GC_HIDE_POINTER(p) (~(GC_hidden_pointer)(p))
#define GC_REVEAL_POINTER(p) ((void *)GC_HIDE_POINTER(p))
#if defined(I_HIDE_POINTERS) || defined(GC_I_HIDE_POINTERS)
#define HIDE_POINTER(p) GC_HIDE_POINTER(p)
#define REVEAL_POINTER(p) GC_REVEAL_POINTER(p)
#endif

/* Threads: all are found; these only answer. */
struct GC_stack_base {
    void *mem_base;
};
int GC_get_stack_base(struct GC_stack_base *);
void GC_allow_register_threads(void);
int GC_register_my_thread(const struct GC_stack_base *);
int GC_unregister_my_thread(void);
int GC_thread_is_registered(void);
void *GC_do_blocking(GC_fn_type, void *);
void *GC_call_with_gc_active(GC_fn_type, void *);
typedef void *(*GC_stack_base_func)(struct GC_stack_base *, void *);
void *GC_call_with_stack_base(GC_stack_base_func, void *);
#ifndef GC_NO_THREAD_DECLS
#include <pthread.h>
#include <signal.h>
int GC_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int GC_pthread_join(pthread_t, void **);
int GC_pthread_detach(pthread_t);
int GC_pthread_cancel(pthread_t);
void GC_pthread_exit(void *) __attribute__((__noreturn__));
int GC_pthread_sigmask(int, const sigset_t *, sigset_t *);
#endif

/* Errors. */
typedef void *(*GC_oom_func)(size_t);
typedef void (*GC_warn_proc)(char *format, GC_word argument);
void GC_set_oom_fn(GC_oom_func);
GC_oom_func GC_get_oom_fn(void);
void GC_set_warn_proc(GC_warn_proc);
GC_warn_proc GC_get_warn_proc(void);
void GC_ignore_warn_proc(char *, GC_word);

/* Settings. GC_set_max_heap_size works before the first collection; the others are remembered and have no effect. */
void GC_set_max_heap_size(GC_word bytes);
int GC_expand_hp(size_t);
void GC_enable_incremental(void);
int GC_is_incremental_mode(void);
void GC_set_all_interior_pointers(int);
int GC_get_all_interior_pointers(void);
void GC_register_displacement(size_t);
void GC_set_no_dls(int);
int GC_get_no_dls(void);
void GC_set_free_space_divisor(GC_word);
GC_word GC_get_free_space_divisor(void);
void GC_set_time_limit(unsigned long);
unsigned long GC_get_time_limit(void);
void GC_set_full_freq(int);
int GC_get_full_freq(void);
void GC_set_non_gc_bytes(GC_word);
GC_word GC_get_non_gc_bytes(void);
void GC_set_dont_expand(int);
int GC_get_dont_expand(void);
void GC_set_dont_precollect(int);
int GC_get_dont_precollect(void);
void GC_set_force_unmap_on_gcollect(int);
int GC_get_force_unmap_on_gcollect(void);
void GC_set_pages_executable(int);
int GC_get_pages_executable(void);
void GC_set_handle_fork(int);
int GC_get_handle_fork(void);
void GC_set_markers_count(int);
int GC_get_markers_count(void);
typedef enum {
    GC_EVENT_START, GC_EVENT_MARK_START, GC_EVENT_MARK_END, GC_EVENT_RECLAIM_START, GC_EVENT_RECLAIM_END, GC_EVENT_END,
    GC_EVENT_PRE_STOP_WORLD, GC_EVENT_POST_STOP_WORLD, GC_EVENT_PRE_START_WORLD, GC_EVENT_POST_START_WORLD,
    GC_EVENT_THREAD_SUSPENDED, GC_EVENT_THREAD_UNSUSPENDED
} GC_EventType;
typedef void (*GC_on_collection_event_proc)(GC_EventType);
void GC_set_on_collection_event(GC_on_collection_event_proc);
GC_on_collection_event_proc GC_get_on_collection_event(void);

/* Keeps the compiler from dropping p before this point. */
#define GC_reachable_here(p) __asm__ volatile("" : : "X"(p) : "memory")

#ifdef __cplusplus
}
#endif
#endif
