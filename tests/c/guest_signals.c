/* Handlers of asynchronous signals, installed while other threads compute. They look at the registers of what they interrupted. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { THREADS = 3, TICKS = 20 };
static atomic_int ticks, odd, stop;
static sigjmp_buf back;

/* Where a thread's first frame lies. What a signal interrupts is near: no thread goes deep. */
static __thread char *frame;

static void on_tick(int signal, siginfo_t *info, void *context) {
	(void)signal, (void)info;
	ucontext_t *c = context;
	char *there = (char *)c->uc_mcontext.gregs[REG_RSP];
	if (frame - there > 1 << 16 || there > frame)
		odd++;
	ticks++;
}

static void on_jump(int signal) { siglongjmp(back, signal); }

static void *compute(void *argument) {
	unsigned long sum = 0;
	frame = __builtin_frame_address(0);
	for (unsigned long i = 0; i < 3000000; i++)
		sum += i * 3 - sum % 7;
	while (!stop)
		;
	*(unsigned long *)argument = sum;
	return NULL;
}

int main(void) {
	frame = __builtin_frame_address(0);
	pthread_t threads[THREADS];
	unsigned long results[THREADS] = {0};
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, compute, &results[i]);
	usleep(20000);
	struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(SIGALRM, &action, NULL);
	struct itimerval timer = {{0, 2000}, {0, 2000}};
	setitimer(ITIMER_REAL, &timer, NULL);
	while (ticks < TICKS)
		usleep(1000);
	timer = (struct itimerval){{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &timer, NULL);
	stop = 1;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		printf("thread %d: %lu\n", i, results[i]);
	}
	printf("odd: %d\n", odd);
	signal(SIGUSR1, on_jump);
	int got = sigsetjmp(back, 1);
	if (got == 0)
		raise(SIGUSR1);
	printf("jumped out of the handler of %d\n", got);
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR2);
	siginfo_t info;
	printf("waited for %d\n", sigwaitinfo(&set, &info) == SIGUSR2);
	pid_t child = fork();
	if (child == 0)
		_exit(9);
	int status;
	printf("child: %d\n", waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 9);
	return 0;
}
