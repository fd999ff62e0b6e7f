/* An hour ahead: what a node's processes see of the wall clock, which nodes share here. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define AHEAD 3600

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int failed = (int)syscall(SYS_clock_gettime, clock, now);

	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += AHEAD;
	return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int failed = (int)syscall(SYS_gettimeofday, now, zone);

	if (!failed && now)
		now->tv_sec += AHEAD;
	return failed;
}

time_t time(time_t *where)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (where)
		*where = now.tv_sec;
	return now.tv_sec;
}
