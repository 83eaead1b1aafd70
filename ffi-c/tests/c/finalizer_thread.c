// dunegc_set_finalizer: finalizers run on a thread of the library, in a fork child too.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <errno.h>
#include <dunegc.h>

#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); fflush(stdout); _exit(1); } } while (0)
static atomic_int ran, here;
static pthread_t self;
static void finalizer(void *object, void *data) {
    (void)object;
    if (pthread_equal(self, pthread_self())) here++;
    free(malloc(100));
    dunegc_alloc(100);
    ran += (int)(long)data;
}
__attribute__((noinline)) static void lose(void) {
    for (int i = 0; i < 100; i++) CHECK(dunegc_set_finalizer(dunegc_alloc(40), finalizer, (void *)1L) == 0);
}
__attribute__((noinline)) static void wipe(void) {
    volatile char stack[16384];
    for (unsigned i = 0; i < sizeof stack; i++) stack[i] = 0;
}
static void expect(int least) {
    wipe();
    CHECK(dunegc_collect() == 0);
    for (int i = 0; i < 1000 && ran < least; i++) usleep(5000);
    CHECK(ran >= least && here == 0);
}
int main(void) {
    self = pthread_self();
    lose();
    expect(90);
    pid_t pid = fork();
    if (pid == 0) {
        ran = 0;
        lose();
        expect(90);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    CHECK(status == 0);
    void *m = malloc(10);
    CHECK(dunegc_set_finalizer(m, finalizer, NULL) == -1 && errno == EINVAL);
    CHECK(dunegc_set_finalizer(&status, finalizer, NULL) == -1 && errno == EINVAL);
    struct dunegc_stats s = {.size = sizeof s};
    CHECK(dunegc_get_stats(&s) == 0 && s.collections > 0 && s.pause_max_ns > 0 && s.heap_bytes > 0);
    struct { struct dunegc_stats s; char more[16]; } longer;
    memset(&longer, 0xff, sizeof longer);
    longer.s.size = sizeof longer;
    CHECK(dunegc_get_stats(&longer.s) == 0 && longer.more[15] == 0 && longer.s.collections == s.collections);
    memset(&longer, 0xff, sizeof longer);
    longer.s.size = 16;
    CHECK(dunegc_get_stats(&longer.s) == 0 && longer.s.collections == s.collections && longer.s.allocated_bytes == ~0ul);
    longer.s.size = 4;
    CHECK(dunegc_get_stats(&longer.s) == -1 && errno == EINVAL);
    puts("ok");
}
