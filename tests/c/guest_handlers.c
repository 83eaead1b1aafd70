/* What programs do with signals: alternate stacks, restarted calls, nested handlers, jumps, faults that a handler repairs. Prints the same natively and in guest
 * mode. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t count, depth, deepest;
static char alternate[64 << 10];
static sigjmp_buf back;
static char *page;

static void set(int signal, void (*handler)(int, siginfo_t *, void *), int flags) {
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
	sigaction(signal, &action, NULL);
}

static void every(long microseconds) {
	struct itimerval timer = {{0, microseconds}, {0, microseconds}};
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void on_count(int signal, siginfo_t *info, void *context) { (void)signal, (void)info, (void)context, count++; }

/* Microseconds between the signals of the storm. */
static long period = 200;

/* Spoils every vector register that the compiler gets hold of. Where signals come faster than they can be handled nothing else would happen any more: after each
 * thousand they come half as often. */
static void on_spoil(int signal, siginfo_t *info, void *context) {
	(void)signal, (void)info, (void)context;
	volatile double x[16];
	for (int i = 0; i < 16; i++)
		x[i] = sqrt(count + i) * 1e9;
	count += x[0] >= 0;
	if (count % 1000 == 0)
		every(period *= 2);
}

static void on_alternate(int signal, siginfo_t *info, void *context) {
	(void)signal, (void)info;
	char here;
	ucontext_t *c = context;
	stack_t now;
	sigaltstack(NULL, &now);
	printf("on the alternate stack: %d %d, flags %d, came from it: %d\n", &here > alternate && &here < alternate + sizeof alternate,
	    c->uc_stack.ss_sp == (void *)alternate, now.ss_flags, (char *)c->uc_mcontext.gregs[REG_RSP] > alternate && (char *)c->uc_mcontext.gregs[REG_RSP] <= alternate + sizeof alternate);
	if (count++ == 0)
		raise(signal);
}

static void on_nested(int signal, siginfo_t *info, void *context) {
	(void)info, (void)context;
	if (++depth > deepest)
		deepest = depth;
	if (count++ < 4)
		raise(signal);
	depth--;
}

static void on_fault(int signal, siginfo_t *info, void *context) {
	ucontext_t *c = context;
	printf("signal %d code %d at %+ld, trap %lld error %lld\n", signal, info->si_code, (char *)info->si_addr - page, c->uc_mcontext.gregs[REG_TRAPNO],
	    c->uc_mcontext.gregs[REG_ERR]);
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void on_skip(int signal, siginfo_t *info, void *context) {
	(void)signal, (void)info;
	ucontext_t *c = context;
	c->uc_mcontext.gregs[REG_RIP] += 2; /* UD2 */
	c->uc_mcontext.gregs[REG_RAX] = 4711;
}

static void on_jump(int signal, siginfo_t *info, void *context) {
	(void)info, (void)context;
	siglongjmp(back, signal);
}

static void *wait_in_read(void *descriptor) {
	char c;
	return (void *)(long)(read(*(int *)descriptor, &c, 1) < 0 ? -errno : c);
}

static void restarts(int flags, const char *name) {
	int ends[2];
	pthread_t thread;
	void *result;
	set(SIGUSR1, on_count, flags);
	pipe(ends);
	pthread_create(&thread, NULL, wait_in_read, &ends[0]);
	for (int i = 0, before = count; i < 5 || count == before; i++) {
		usleep(20000);
		if (pthread_kill(thread, SIGUSR1))
			break;
		if (!(flags & SA_RESTART) && i == 0)
			break;
	}
	usleep(20000);
	write(ends[1], "x", 1);
	pthread_join(thread, &result);
	printf("read %s: %ld\n", name, (long)result);
}

static void *wait_for_ever(void *unused) {
	for (;;)
		pause();
	return unused;
}

int main(void) {
	setvbuf(stdout, NULL, _IONBF, 0);
	/* A storm while vectors are in use. */
	set(SIGALRM, on_spoil, SA_RESTART);
	every(period);
	double sum = 0;
	for (int i = 1; i < 3000000; i++)
		sum += sqrt(i) / (1 + (i & 7));
	while (count < 500)
		;
	every(0);
	printf("sum %.3f\n", sum);
	/* Alternate stack. */
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
	printf("sigaltstack %d\n", sigaltstack(&stack, NULL));
	count = 0;
	set(SIGUSR2, on_alternate, SA_ONSTACK | SA_NODEFER);
	raise(SIGUSR2);
	/* Nesting with and without SA_NODEFER, and a handler for one time. */
	count = 0;
	set(SIGUSR1, on_nested, SA_NODEFER);
	raise(SIGUSR1);
	printf("nested %d", deepest);
	count = deepest = 0;
	set(SIGUSR1, on_nested, 0);
	raise(SIGUSR1);
	printf(" and %d\n", deepest);
	count = 0;
	set(SIGURG, on_count, SA_RESETHAND);
	raise(SIGURG);
	raise(SIGURG);
	printf("once: %d\n", count);
	/* Calls that go on and calls that do not. */
	restarts(SA_RESTART, "restarted");
	restarts(0, "interrupted");
	set(SIGALRM, on_count, SA_RESTART);
	struct itimerval soon = {{0, 0}, {0, 20000}};
	struct timespec time = {5, 0};
	setitimer(ITIMER_REAL, &soon, NULL);
	printf("nanosleep %d %d\n", nanosleep(&time, &time), errno);
	sigset_t none, one, old;
	sigemptyset(&none);
	sigemptyset(&one);
	sigaddset(&one, SIGALRM);
	sigprocmask(SIG_BLOCK, &one, &old);
	count = 0;
	raise(SIGALRM);
	printf("blocked: %d", count);
	sigsuspend(&none);
	printf(", in sigsuspend: %d", count);
	raise(SIGALRM);
	printf(", ppoll %d", ppoll(NULL, 0, NULL, &none));
	printf(": %d\n", count);
	sigprocmask(SIG_SETMASK, &old, NULL);
	/* Children. */
	count = 0;
	set(SIGCHLD, on_count, SA_RESTART);
	for (int i = 0; i < 10; i++) {
		pid_t child = fork();
		if (child == 0) {
			set(SIGUSR1, on_count, 0);
			count = 0;
			raise(SIGUSR1);
			_exit(count == 1 ? i : 99);
		}
		int status;
		waitpid(child, &status, 0);
		printf("%d ", WEXITSTATUS(status));
	}
	printf("children: %d\n", count);
	/* Faults. */
	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	set(SIGSEGV, on_fault, SA_ONSTACK);
	for (int i = 0; i < 3; i++) {
		page[100 + i] = 1;
		mprotect(page, 4096, PROT_READ);
	}
	munmap(page, 4096);
	set(SIGSEGV, on_jump, SA_ONSTACK);
	for (int i = 0; i < 3; i++) {
		if (sigsetjmp(back, 1) == 0)
			*(volatile char *)page = 1;
		printf("jumped %d\n", i);
	}
	set(SIGILL, on_skip, 0);
	long rax;
	__asm__ volatile("ud2" : "=a"(rax) : "a"(1));
	printf("rax %ld\n", rax);
	set(SIGFPE, on_jump, 0);
	if (sigsetjmp(back, 1) == 0) {
		volatile int zero = 0;
		printf("%d\n", 7 / zero);
	}
	/* Cancellation. */
	pthread_t thread;
	void *result;
	pthread_create(&thread, NULL, wait_for_ever, NULL);
	usleep(20000);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	printf("cancelled: %d\n", result == PTHREAD_CANCELED);
	sigprocmask(SIG_SETMASK, NULL, &old);
	printf("blocked at the end:");
	for (int i = 1; i < 65; i++)
		if (sigismember(&old, i) == 1)
			printf(" %d", i);
	printf("\n");
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
	return 0;
}
