/* What this library says to calls that break the interface's rules: most end the program with a message, each in a process of its own;
 * others have an answer. */
#define GC_NO_THREAD_REDIRECTS
#include "oracle.h"
#include <gc/gc_disclaim.h>
#include <gc/gc_gcj.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>
#include <gc/javaxfc.h>
#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#pragma GCC diagnostic ignored "-Wnonnull"

static long global[4];
static char *object;
static struct GC_ms_entry *no_marks(GC_word *a, struct GC_ms_entry *top, struct GC_ms_entry *limit, GC_word env)
{
    (void)a, (void)limit, (void)env;
    return top;
}
static int GC_CALLBACK keep(void *p) { return p != NULL; }

/* A process that tries something. */
struct trial {
    const char *name;
    int messages;
    pid_t child;
};

static struct trial trial(const char *name)
{
    int ends[2];
    if (pipe(ends) != 0)
        exit(1);
    struct trial t = {name, ends[0], fork()};
    if (t.child == 0)
        dup2(ends[1], 2);
    close(ends[1]);
    return t;
}

/* How it ended, and whether it said anything. */
static void judge(struct trial *t)
{
    char text[1000];
    size_t n = 0;
    for (ssize_t got; n < sizeof text && (got = read(t->messages, text + n, sizeof text - n)) > 0;)
        n += (size_t)got;
    close(t->messages);
    int status = 0;
    waitpid(t->child, &status, 0);
    /* Addresses and process numbers differ from run to run. */
    char shown[sizeof text + 1];
    size_t to = 0;
    for (size_t from = 0; from < n; from++) {
        shown[to++] = text[from] == '\n' ? '|' : text[from];
        if (text[from] == '[' || (from > 0 && text[from - 1] == '0' && text[from] == 'x'))
            while (from + 1 < n && isxdigit((unsigned char)text[from + 1]))
                from++;
    }
    shown[to] = 0;
    const char *end = !WIFSIGNALED(status) ? "goes on" : WTERMSIG(status) == SIGABRT ? "aborts" : "is killed";
    say("%s %s: %s", t->name, end, shown);
}

/* Each ends in a process of its own. */
#define CASE(call) \
    do { \
        struct trial t = trial(#call); \
        if (t.child == 0) { \
            (void)(call); \
            _exit(0); \
        } \
        judge(&t); \
    } while (0)

static void fatal(void)
{
    CASE(GC_free(global));
    CASE(GC_free(object + 16));
    CASE((GC_free(object), GC_free(object)));
    CASE(GC_realloc(global, 10));
    CASE(GC_realloc(object + 16, 10));
    CASE(GC_get_kind_and_size(NULL, NULL));
    CASE(GC_get_kind_and_size(global, NULL));
    CASE(GC_register_disappearing_link((void **)global));
    CASE(GC_register_disappearing_link((void **)(object + 1)));
    CASE(GC_general_register_disappearing_link(NULL, object));
    CASE(GC_general_register_disappearing_link((void **)((char *)global + 1), object));
    CASE(GC_register_long_link(NULL, object));
    CASE(GC_move_disappearing_link((void **)global, NULL));
    CASE(GC_move_long_link((void **)global, NULL));
    CASE(GC_malloc_kind(10, 77));
    CASE(GC_malloc_kind(10, -1));
    CASE(GC_register_disclaim_proc(77, keep, 0));
    CASE(GC_finalized_malloc(8, NULL));
    CASE(GC_gcj_malloc(8, NULL));
    CASE(GC_init_gcj_malloc(77, (void *)no_marks));
    CASE(GC_debug_free(global));
    CASE(GC_debug_realloc(global, 10, "x", 1));
    CASE(GC_debug_end_stubborn_change(global));
    CASE(GC_register_my_thread(NULL));
    CASE(GC_register_displacement(1 << 20));
    CASE(GC_set_free_space_divisor(0));
}

static int finalized, allocated;
static void GC_CALLBACK busy(void *p, void *data)
{
    (void)data;
    finalized++;
    char *more = GC_MALLOC(1000);
    allocated += more != NULL && more[999] == 0;
    GC_gcollect();
    if (finalized < 40)
        GC_register_finalizer(p, busy, NULL, NULL, NULL);
}

NOINLINE static void make_busy(void)
{
    for (int i = 0; i < 20; i++)
        GC_register_finalizer(GC_MALLOC(40), busy, NULL, NULL, NULL);
}

/* A thread that libc alone made. */
static void *stranger(void *data)
{
    char **kept = data;
    say("stranger: %d", GC_thread_is_registered());
    char *own = GC_MALLOC(100);
    own[5] = 'x';
    for (int i = 0; i < 5; i++)
        GC_gcollect();
    say("collected: %c, %c", own[5], kept[0][5]);
    GC_register_finalizer(own, NULL, NULL, NULL, NULL);
    GC_invoke_finalizers();
    say("unregistered: %d %d", GC_unregister_my_thread(), GC_unregister_my_thread());
    struct GC_stack_base base;
    say("base: %d", GC_get_stack_base(&base));
    GC_allow_register_threads();
    int first = GC_register_my_thread(&base), second = GC_register_my_thread(&base);
    say("registered: %d %d", first == GC_SUCCESS, second == GC_DUPLICATE);
    void *handle = GC_get_my_stackbottom(&base);
    struct GC_stack_base before = base, other = {.mem_base = global};
    GC_set_stackbottom((void *)1, &other);
    GC_get_my_stackbottom(&base);
    say("another thread's bottom: %d", base.mem_base == before.mem_base);
    GC_set_stackbottom(handle, &other);
    GC_get_my_stackbottom(&base);
    say("own bottom: %d", base.mem_base == (void *)global);
    GC_set_stackbottom(NULL, &before);
    say("unregistered: %d", GC_unregister_my_thread());
    return own;
}

static void answers(void)
{
    void *const addresses[] = {NULL, global, (void *)keep, (void *)1, (void *)-8, (void *)(1UL << 46)};
    for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        void *p = addresses[i];
        GC_set_mark_bit(p);
        GC_clear_mark_bit(p);
        GC_is_marked(p);
        say("%u: %d %d %d %d", i, (int)GC_size(p), GC_toggleref_add(p, 1),
            GC_general_register_disappearing_link((void **)global, p), GC_register_long_link((void **)global, p));
        GC_register_finalizer(p, busy, NULL, NULL, NULL);
        GC_debug_register_finalizer(p, busy, NULL, NULL, NULL);
        GC_same_obj(p, p);
        GC_is_valid_displacement(p);
        GC_end_stubborn_change(p);
    }
    say("interior: %d %d", GC_size(object + 50) == GC_size(object), GC_toggleref_add(object + 16, 1));
    GC_register_finalizer(object + 16, busy, NULL, NULL, NULL);
    say("strings: %d %d %d", GC_strdup(NULL) == NULL, GC_strndup(NULL, 3) == NULL, GC_debug_strdup(NULL, "x", 1) == NULL);
    GC_add_roots(global + 4, global);
    GC_remove_roots(global + 4, global);
    GC_exclude_static_roots(global + 4, global);
    GC_get_heap_usage_safe(NULL, NULL, NULL, NULL, NULL);
    say("figures of no size: %d", (int)GC_get_prof_stats(NULL, 0));
    say("empty descriptor: %d", GC_malloc_explicitly_typed(40, GC_make_descriptor(NULL, 0)) != NULL);
    say("too much: %d %d", GC_calloc_explicitly_typed((size_t)-1, (size_t)-1, 0) == NULL, GC_malloc((size_t)-1) == NULL);
    say("alignment: %d %d", GC_memalign(3, 10) == NULL, GC_posix_memalign((void **)&object, 3, 10) != 0);
    GC_resume_thread(pthread_self());
    say("not suspended: %d", GC_is_thread_suspended(pthread_self()));
    GC_enable();
    say("enabled too often: %d", GC_is_disabled() != 0);
    GC_disable();
}

int main(void)
{
    GC_INIT();
    object = GC_MALLOC(100);
    object[5] = 'y';
    fatal();
    answers();
    pthread_t thread;
    pthread_create(&thread, NULL, stranger, &object);
    pthread_join(thread, NULL);
    make_busy();
    for (int i = 0; i < 10; i++)
        collect();
    say("finalizers that allocate, collect and register themselves again: %d, intact: %d", finalized >= 30, allocated == finalized);
    return 0;
}
