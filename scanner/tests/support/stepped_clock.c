// Preloaded, steps the clocks of one process: by as many seconds as two 64-bit numbers in the file STEP_FILE say, from the
// moment on at which they say so. The first is for the wall clock, the second for the one that no one can set, whose
// absolute times the kernel then gets as its own.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct steps {
	int64_t wall, steady;
};

static int (*real)(clockid_t, struct timespec *);
static long (*real_syscall)(long, ...);
static const volatile struct steps *steps;

// Maps the file before the process may open no more files.
__attribute__((constructor)) static void begin(void) {
	real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	const char *name = getenv("STEP_FILE");
	int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *steps, PROT_READ, MAP_SHARED, file, 0);
	if (page != MAP_FAILED)
		steps = page;
	if (file >= 0)
		close(file);
}

static time_t stepped(clockid_t clock) {
	if (!steps)
		return 0;
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		return steps->wall;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_BOOTTIME:
		return steps->steady;
	default:
		return 0;
	}
}

int clock_gettime(clockid_t clock, struct timespec *time) {
	if (!real)
		begin();
	int result = real(clock, time);
	if (!result)
		time->tv_sec += stepped(clock);
	return result;
}

// Waits of Rust's standard library, which end at an absolute time.
long syscall(long number, ...) {
	long arguments[6];
	va_list list;
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (!real_syscall)
		begin();
	struct timespec until;
	long operation = arguments[1] & FUTEX_CMD_MASK;
	if (number == SYS_futex && operation == FUTEX_WAIT_BITSET && arguments[3]) {
		until = *(const struct timespec *)arguments[3];
		until.tv_sec -= stepped(arguments[1] & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC);
		arguments[3] = (long)&until;
	}
	return real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
	struct timespec now;
	(void)zone;
	int result = clock_gettime(CLOCK_REALTIME, &now);
	*time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
	return result;
}

time_t time(time_t *result) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}
