// Threads that end by pthread_exit, cancellation in a wait of ours, and with destructors that run; C11 threads; arguments.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <csignal>
#include <cstring>
#include <pthread.h>
#include <poll.h>
#include <stdexcept>
#include <threads.h>
#include <unistd.h>

#define CHECK(x) do { if (!(x)) { std::printf("line %d: %s\n", __LINE__, #x); std::exit(1); } } while (0)
static std::atomic<int> destroyed, allocated_late;
static pthread_key_t key;
struct Guard { void *p = std::malloc(100); ~Guard() { std::free(p); ++destroyed; } };
static void late(void *p) {
    std::free(p);
    std::free(std::malloc(300));
    int round = ++allocated_late;
    if (round % 3) pthread_setspecific(key, std::malloc(10));
}
static void *leave(void *) {
    Guard g;
    pthread_setspecific(key, std::malloc(10));
    pthread_exit(std::malloc(7));
}
static std::atomic<int> waiting;
static void *wait_in(void *way) {
    Guard g;
    sigset_t none;
    sigemptyset(&none);
    sigaddset(&none, SIGUSR2);
    waiting = 1;
    int s;
    struct pollfd fd = {-1, 0, 0};
    for (;;) {
        switch (reinterpret_cast<long>(way)) {
        case 0: sigsuspend(&none); break;
        case 1: ppoll(&fd, 1, nullptr, &none); break;
        case 2: sigwait(&none, &s); break;
        case 3: pause(); break;
        }
    }
}
static int c11(void *p) {
    Guard g;
    int n = *static_cast<int *>(p);
    std::free(p);
    return n;
}
static void *catches(void *p) {
    try { throw std::runtime_error("x"); } catch (std::exception &) { Guard g; }
    return p;
}
int main() {
    pthread_key_create(&key, late);
    for (int i = 0; i < 50; i++) {
        pthread_t t;
        void *r;
        CHECK(pthread_create(&t, nullptr, leave, nullptr) == 0 && pthread_join(t, &r) == 0 && r);
        std::free(r);
    }
    CHECK(destroyed == 50 && allocated_late == 150);
    for (long way = 0; way < 4; way++) {
        waiting = 0;
        pthread_t t;
        void *r;
        CHECK(pthread_create(&t, nullptr, wait_in, reinterpret_cast<void *>(way)) == 0);
        while (!waiting) usleep(1000);
        usleep(20000);
        CHECK(pthread_cancel(t) == 0 && pthread_join(t, &r) == 0 && r == PTHREAD_CANCELED);
        CHECK(destroyed == 51 + way);
    }
    for (int i = 0; i < 100; i++) {
        thrd_t t;
        int *n = static_cast<int *>(std::malloc(sizeof(int))), r;
        *n = i;
        CHECK(thrd_create(&t, c11, n) == thrd_success && thrd_join(t, &r) == thrd_success && r == i);
    }
    pthread_t t;
    void *r;
    CHECK(pthread_create(&t, nullptr, catches, &key) == 0 && pthread_join(t, &r) == 0 && r == &key);
    pthread_attr_t bad;
    std::memset(&bad, 0xff, sizeof bad);
    pthread_attr_init(&bad);
    pthread_attr_setstacksize(&bad, std::size_t(1) << 46);
    CHECK(pthread_create(&t, &bad, catches, nullptr) == EAGAIN);
    std::puts("ok");
}
