/* Where an image has data: a helper reads the extents of the shards.
 *
 * Sharded volumes do not support SEEK_DATA.  The package's Python code knows how to query the
 * shards (ganeti_gluster.core.serve.extents) and runs as long as it is needed.  It gets
 * "OFFSET LENGTH\n" and returns the extents in order, "d4096 h8192\n".  If it fails, everything
 * counts as data, which is always correct.
 *
 * When QEMU asks for a snapshot, the guest's writes to that place wait, and if they wait for
 * seconds the snapshot is given up.  So a helper that is slow to start is not waited for.
 */
#include "server.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Less than QEMU lets a guest's write wait for its snapshot (snapshot/graph.py). */
#define ANSWER_MILLISECONDS 3000
/* What QEMU saves at a time when a guest overwrites it: too small to ask for. */
#define SMALL_BYTES (1u << 20)
/* After a failure it is not started again for this time. */
#define REST_SECONDS 30

extern char **environ;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct config *config;
static pid_t helper;
static int channel = -1;
static double resting;

void extents_init(const struct config *wanted)
{
	config = wanted;
}

static void end_helper(void)
{
	if (channel >= 0)
		close(channel);
	channel = -1;
	if (helper > 0) {
		kill(helper, SIGKILL);
		waitpid(helper, NULL, 0);
	}
	helper = 0;
}

/* It ends by itself when it is no longer asked. */
static bool has_ended(void)
{
	struct pollfd waiting = {channel, POLLIN, 0};

	return poll(&waiting, 1, 0) != 0;
}

static bool start_helper(void)
{
	char *const argv[] = {"/usr/bin/python3", "-P", "-m", "ganeti_gluster.core.serve.extents",
			      (char *)config->key, NULL};
	posix_spawn_file_actions_t actions;
	int ends[2], failed;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return false;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	failed = posix_spawn(&helper, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (failed) {
		helper = 0;
		close(ends[0]);
		return false;
	}
	channel = ends[0];
	return true;
}

/* Read a line from the helper; false if it does not come. */
static bool read_line(char *line, size_t size)
{
	size_t used = 0;

	while (used + 1 < size) {
		struct pollfd waiting = {channel, POLLIN, 0};
		ssize_t length;

		if (poll(&waiting, 1, ANSWER_MILLISECONDS) != 1)
			return false;
		length = recv(channel, line + used, size - used - 1, 0);
		if (length <= 0)
			return false;
		used += (size_t)length;
		line[used] = '\0';
		if (line[used - 1] == '\n')
			return true;
	}
	return false;
}

/* Parse a line of extents, which must cover exactly `length` bytes; otherwise 0. */
static int parse(char *line, uint32_t length, struct extent *found, int most)
{
	uint64_t total = 0;
	int count = 0;
	char *next = line;

	while (count < most && (*next == 'd' || *next == 'h')) {
		found[count].hole = *next == 'h';
		unsigned long size = strtoul(next + 1, &next, 10);

		if (size == 0 || total + size > length)
			return 0;
		found[count++].length = (uint32_t)size;
		total += size;
		while (*next == ' ')
			next++;
	}
	return count == most || total == length ? count : 0;
}

int extents_of(uint64_t offset, uint32_t length, struct extent *found, int most)
{
	static char line[1 << 16];
	char question[64];
	int count = 0, size;

	pthread_mutex_lock(&lock);
	if (helper && has_ended())
		end_helper();
	if (length > SMALL_BYTES && state_now() >= resting && (helper || start_helper())) {
		size = snprintf(question, sizeof(question), "%llu %u\n",
				(unsigned long long)offset, length);
		if (send(channel, question, (size_t)size, MSG_NOSIGNAL) == size &&
		    read_line(line, sizeof(line)))
			count = parse(line, length, found, most);
		if (!count) {
			end_helper();
			resting = state_now() + REST_SECONDS;
		}
	}
	pthread_mutex_unlock(&lock);
	if (!count) {
		found[0].length = length;
		found[0].hole = false;
		count = 1;
	}
	return count;
}
