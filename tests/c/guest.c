/* What a program sees of its own memory, stack, threads and faults. Prints the same in guest mode as outside. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

static char *map(void *at, size_t len, int rights, int flags) {
	char *p = mmap(at, len, rights, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* How a child ends that does this. */
static void child(const char *what, void (*f)(char *), char *p) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		f(p);
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("%s: signal %d\n", what, WTERMSIG(status));
	else
		printf("%s: status %d\n", what, WEXITSTATUS(status));
}

static void mappings(void) {
	char *p = map(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, 0);
	memset(p, 1, 64 * PAGE);
	munmap(p + 8 * PAGE, 8 * PAGE);
	char *again = map(p + 8 * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_FIXED);
	printf("replaced: %d %d\n", again[0], p[0]);
	again[5] = 7;
	mprotect(p, 16 * PAGE, PROT_READ);
	printf("readable: %d %d\n", p[PAGE], again[5]);
	mprotect(p, 16 * PAGE, PROT_READ | PROT_WRITE);
	p[PAGE] = 9;
	char *moved = mremap(p, 16 * PAGE, 4096 * PAGE, MREMAP_MAYMOVE);
	printf("moved: %d %d %d\n", moved[PAGE], moved[8 * PAGE + 5], moved[4000 * PAGE]);
	moved[4000 * PAGE] = 3;
	madvise(moved + 4000 * PAGE, PAGE, MADV_DONTNEED);
	printf("given back: %d\n", moved[4000 * PAGE]);
	char *far = map(NULL, 1ul << 41, PROT_NONE, MAP_NORESERVE);
	mprotect(far + (1ul << 40), PAGE, PROT_READ | PROT_WRITE);
	far[1ul << 40] = 4;
	printf("far: %d\n", far[1ul << 40]);
	char *code = map(NULL, PAGE, PROT_READ | PROT_WRITE, 0);
	memcpy(code, "\xb8\x2a\x00\x00\x00\xc3", 6);
	mprotect(code, PAGE, PROT_READ | PROT_EXEC);
	printf("code: %d\n", ((int (*)(void))code)());
	char *brk = sbrk(1 << 20);
	brk[1000000] = 5;
	sbrk(-(1 << 20));
	brk = sbrk(1 << 20);
	printf("break: %d\n", brk[1000000]);
}

static int deep(int n) {
	volatile char frame[1000];
	frame[n % 1000] = 1;
	return n == 0 ? 0 : frame[n % 1000] + deep(n - 1);
}

static __thread int own = 5;

static void *thread(void *argument) {
	own += (int)(intptr_t)argument;
	double x = 0;
	for (int i = 1; i < 100000; i++)
		x += sin(i) * own;
	return (void *)(intptr_t)(own * 1000000 + (int)fabs(x));
}

static void store(char *p) { *p = 1; }
static void run(char *p) { ((void (*)(void))p)(); }
static void trap(char *p) { (void)p; __asm__ volatile("int3"); }
static void divide(char *p) { volatile int zero = 0; p[0] = (char)(1 / zero); }
static void privileged(char *p) { (void)p; __asm__ volatile("hlt"); }
static void stop(char *p) { (void)p; abort(); }

static sigjmp_buf back;
static volatile uintptr_t fault_at;
static void on_fault(int signal, siginfo_t *info, void *context) {
	(void)signal, (void)context;
	fault_at = (uintptr_t)info->si_addr;
	siglongjmp(back, 1);
}

int main(int argc, char **argv) {
	(void)argv;
	printf("descriptor %d\n", open("/dev/null", O_RDONLY));
	mappings();
	printf("deep: %d\n", deep(7000));
	pthread_t threads[6];
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, thread, (void *)(intptr_t)i);
	for (int i = 0; i < 6; i++) {
		void *result;
		pthread_join(threads[i], &result);
		printf("thread: %d\n", (int)(intptr_t)result);
	}
	void *lib = dlopen("libm.so.6", RTLD_NOW);
	double (*cosine)(double) = (double (*)(double))dlsym(lib, "cos");
	printf("dlopen: %.6f own %d\n", cosine(0), own);
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("time: %d\n", b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
	FILE *pipe = popen("echo through a shell", "r");
	char line[64];
	printf("popen: %s", fgets(line, sizeof line, pipe));
	pclose(pipe);
	close_range(200, ~0u, 0);
	char *data = map(NULL, PAGE, PROT_READ | PROT_WRITE, 0);
	char *constant = map(NULL, PAGE, PROT_READ, 0);
	child("store to NULL", store, NULL);
	child("store to a constant", store, constant);
	child("run data", run, data);
	child("int3", trap, NULL);
	child("divide", divide, data);
	child("hlt", privileged, NULL);
	child("abort", stop, NULL);
	if (argc > 1) {
		/* The same in this process, which handles it. */
		struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
		sigaction(SIGSEGV, &action, NULL);
		for (int i = 0; i < 3; i++)
			if (sigsetjmp(back, 1) == 0)
				store((char *)(uintptr_t)(16 + i));
			else
				printf("fault at %d\n", (int)fault_at);
	}
	return 0;
}
