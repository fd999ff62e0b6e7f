/* What a brick that is away lacks is noted before a client is told that it is written.
 *
 * GlusterFS notes on the copies that have a write which others lack it.  It does so after it has
 * answered, and puts it off for as long as writes follow each other (cluster.post-op-delay-secs,
 * afr_changelog_post_op).  Were this process killed before that, the brick would pass for
 * whole when it is back, and be read.  So while a brick is away, the first write to each
 * of the files that an image is made of is answered when all is noted: other requests are
 * held back, and operations that GlusterFS does not put off follow it.  What is noted stays
 * so until the brick is healed.
 */
#include "server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* 64 TiB of files of 64 MiB; what is beyond is noted with each write. */
#define FILES (1u << 20)
#define HOLD_MILLISECONDS 25000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t noted[FILES / 64];
/* The bricks that were there when that was noted: none comes back in one process's life. */
static int noted_with;
static struct request *queue;
static bool working;

static bool is_noted(uint64_t file)
{
	return file < FILES && noted[file / 64] >> file % 64 & 1;
}

static uint64_t last_file(const struct request *request)
{
	return (request->offset + request->length - 1) / (uint64_t)storage_shard_bytes();
}

static uint64_t first_file(const struct request *request)
{
	return request->offset / (uint64_t)storage_shard_bytes();
}

/* To be called with the lock: whether all that a request wrote to is noted. */
static bool all_noted(const struct request *request, int bricks)
{
	if (bricks != noted_with) {
		memset(noted, 0, sizeof(noted));
		noted_with = bricks;
	}
	for (uint64_t file = first_file(request); file <= last_file(request); file++)
		if (!is_noted(file))
			return false;
	return true;
}

static void mark(const struct request *request, int bricks)
{
	pthread_mutex_lock(&lock);
	for (uint64_t file = first_file(request);
	     bricks == noted_with && file <= last_file(request) && file < FILES; file++)
		noted[file / 64] |= 1ull << file % 64;
	pthread_mutex_unlock(&lock);
}

static bool has_work(void)
{
	bool has;

	pthread_mutex_lock(&lock);
	has = working = queue != NULL;
	pthread_mutex_unlock(&lock);
	return has;
}

static void *work(void *data)
{
	struct request *request, *next;

	while (has_work()) {
		int bricks;

		/* While bricks do not answer there is nobody to be told anything. */
		while (!storage_hold(HOLD_MILLISECONDS))
			storage_go_on();
		pthread_mutex_lock(&lock);
		request = queue;
		queue = NULL;
		pthread_mutex_unlock(&lock);
		bricks = fence_bricks_connected();
		for (struct request *one = request; one; one = one->next) {
			one->error = storage_note(one);
			if (!one->error)
				mark(one, bricks);
		}
		storage_go_on();
		for (; request; request = next) {
			next = request->next;
			storage_noted(request, request->error);
		}
	}
	return data;
}

bool absent_defer(struct request *request)
{
	int bricks = fence_bricks_connected();
	bool deferred;

	if (bricks >= storage_bricks())
		return false;
	pthread_mutex_lock(&lock);
	deferred = !all_noted(request, bricks);
	if (deferred) {
		request->next = queue;
		queue = request;
		if (!working)
			working = start_thread(work, NULL);
		/* Where there is no thread to be had, the next one to defer tries again. */
	}
	pthread_mutex_unlock(&lock);
	return deferred;
}
