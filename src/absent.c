/* Record what a brick that is down lacks before the client gets the answer to its write.
 *
 * GlusterFS records on the copies that have a write which others lack it.  It does so after it
 * has answered, and delays it while writes follow each other (cluster.post-op-delay-secs,
 * afr_changelog_post_op).  If this process were killed before that, the brick would be considered
 * complete when it is back, and would be read.  So while a brick is down, the first write to each
 * shard of the image is answered only when this is recorded: other requests are held back, and
 * operations follow that GlusterFS does not delay.  The record stays until the brick is healed.
 */
#include "server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* 64 TiB of shards of 64 MiB; what is beyond is recorded with each write. */
#define FILES (1u << 20)
#define HOLD_MILLISECONDS 25000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t noted[FILES / 64];
/* The bricks that were up when that was recorded: none comes back to the same process. */
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

/* Whether everything that a request wrote to is recorded.  Call it with the lock. */
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

		/* While the bricks do not answer, no client is waiting for an answer. */
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
		/* If no thread can be created, the next deferred request tries again. */
	}
	pthread_mutex_unlock(&lock);
	return deferred;
}
