/* What a program can see at the edges of guest mode, and must not. Prints the same natively and there. */
#include "check.h"
#include <immintrin.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static sigjmp_buf back;
static char *stop_at;

static void on_fault(int signal)
{
    (void)signal;
    siglongjmp(back, 1);
}

NOINLINE static int deeper(int n)
{
    volatile char room[8192];
    room[0] = (char)n;
    /* Ends by the fault alone. */
    return (n < 0 ? 0 : deeper(n + 1)) + room[0];
}

/* A mapping below the first thread's stack: the stack cannot grow past it, and the program handles that. */
static void stack_that_cannot_grow(void)
{
    static char alternate[65536];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&stack, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    char here;
    stop_at = (char *)(((uintptr_t)&here & ~(uintptr_t)4095) - (3 << 20));
    char *got = mmap(stop_at, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(got == stop_at);
    if (sigsetjmp(back, 1) == 0) {
        deeper(0);
        puts("the stack has no end");
    } else {
        puts("handled at the end of the stack");
    }
    CHECK(munmap(got, 4096) == 0);
    signal(SIGSEGV, SIG_DFL);
}

/* A process of its own that shares descriptors: what it closes is closed here, and nothing else. */
static void child_with_shared_descriptors(void)
{
    int status = 0;
    long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        _exit(3);
    CHECK(pid > 0 && waitpid((pid_t)pid, &status, 0) == pid && WIFEXITED(status));
    printf("child ended with %d\n", WEXITSTATUS(status));
    /* New memory, far from all that is in use: the machine must learn of it. */
    for (int i = 0; i < 8; i++) {
        char *far = mmap((void *)(0x100000000000 + ((uintptr_t)i << 36)), 1 << 22, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(far != MAP_FAILED);
        far[1 << 21] = 1;
        CHECK(munmap(far, 1 << 22) == 0);
    }
    puts("more memory");
}

static void *waits(void *barrier)
{
    pthread_barrier_wait(barrier);
    return barrier;
}

/* More threads than guest mode has room for. */
static void many_threads(void)
{
    enum { MANY = 1100 };
    static pthread_t threads[MANY];
    pthread_barrier_t barrier;
    pthread_attr_t small;
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 65536) == 0);
    CHECK(pthread_barrier_init(&barrier, NULL, MANY + 1) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(pthread_create(&threads[i], &small, waits, &barrier) == 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < MANY; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0 && result == &barrier);
    }
    printf("%d threads\n", MANY);
}

__attribute__((target("fsgsbase"))) static void set_gs(void *base) { _writegsbase_u64((uintptr_t)base); }

static unsigned long at_gs(void)
{
    unsigned long word;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(word));
    return word;
}

/* The base of GS, set by an instruction that the kernel does not see: a child has it, and the program keeps it when it leaves guest mode. */
static void bases(void)
{
    static unsigned long there[2] = {42, 43};
    int status = 0;
    if (!(getauxval(AT_HWCAP2) & 2)) {
        puts("no such instruction");
        return;
    }
    set_gs(there);
    pid_t pid = fork();
    if (pid == 0)
        _exit((int)at_gs());
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    printf("%lu, in the child %d\n", at_gs(), WEXITSTATUS(status));
    /* Asks for nothing, and ends guest mode. */
    char table[8];
    CHECK(syscall(SYS_modify_ldt, 0, table, sizeof table) >= 0);
    printf("%lu\n", at_gs());
}

static void *spins(void *started)
{
    int old;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    __atomic_store_n((int *)started, 1, __ATOMIC_SEQ_CST);
    for (volatile unsigned long n = 0;; n++)
        continue;
    return NULL;
}

/* Threads that never ask the kernel for anything are cancelled, one at a time: the others go on. */
static void cancelled_threads(void)
{
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *result = NULL;
        int started = 0;
        CHECK(pthread_create(&thread, NULL, spins, &started) == 0);
        while (!__atomic_load_n(&started, __ATOMIC_SEQ_CST))
            sched_yield();
        CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
    }
    puts("20 threads cancelled");
}

/* What is executed inherits what this program blocks, and no more. */
static void execute(void)
{
    setenv("DUNE", "off", 1);
    unsetenv("LD_PRELOAD");
    execlp("grep", "grep", "-E", "SigBlk|SigPnd|ShdPnd", "/proc/self/status", (char *)NULL);
    perror("grep");
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(what, "stack") == 0)
        stack_that_cannot_grow();
    else if (strcmp(what, "files") == 0)
        child_with_shared_descriptors();
    else if (strcmp(what, "bases") == 0)
        bases();
    else if (strcmp(what, "cancel") == 0)
        cancelled_threads();
    else if (strcmp(what, "threads") == 0)
        many_threads();
    else
        execute();
    return 0;
}
