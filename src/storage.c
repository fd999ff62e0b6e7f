/* The volume, the image and its lock, and requests to the image.
 *
 * One file descriptor, opened with O_DIRECT, holds the lock and is used for all reads and writes.
 * Its connection is never made again (fence.c).  Requests that fail and may succeed later are kept,
 * and the process replaces itself.
 *
 * The lock alone does not show whether another node had the image in between.  So the server that
 * takes it writes a unique word to the image, and removes it when it ends.  A server that locks
 * again only continues if it finds its own word.
 */
#include "server.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WORD_ATTRIBUTE "user.ganeti-gluster.holder"
/* The beginning of the word after an eviction: any node may take the image. */
#define EVICTED "evicted"
/* The lock of our previous connection is dropped when the bricks notice its end. */
#define PATIENT_MILLISECONDS 15000
/* The same where the bricks have not seen its end, as when this node was cut off. */
#define FORGOTTEN_MILLISECONDS 25000
#define POLL_MILLISECONDS 50
#define VOLFILE_TRIES 100
/* In the client's graph, and the file that enables TLS for glusterd itself. */
#define TLS_OPTION "socket.ssl-enabled "
#define SECURE_ACCESS "/var/lib/glusterd/secure-access"
/* Shard sizes: the smallest possible one, and GlusterFS's default. */
#define LEAST_SHARD (4 << 20)
#define DEFAULT_SHARD (64 << 20)
/* libgfapi's level "info". */
#define LOG_INFO 7

void (*storage_trouble)(bool full, const char *why);
int storage_patience;

static glfs_t *volume;
static glfs_fd_t *file;
static int brick_count;
/* The size of a shard in bytes. */
static int64_t shard_bytes;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static atomic_int under_way;
static atomic_int held_back;
static struct request *parked;
static int parked_count;

static void pause_ms(int milliseconds)
{
	struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

static enum outcome failed(struct reason *reason, enum outcome outcome, const char *what, int error)
{
	snprintf(reason->text, sizeof(reason->text), "%s: %s", what, strerror(error));
	return outcome;
}

static bool is_full(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

/* -- open --------------------------------------------------------------------- */

static int connect_volume(const struct config *config)
{
	/* A function that GlusterFS has from release 11 on. */
	bool is_11 = dlsym(RTLD_DEFAULT, "glfs_openat") != NULL;
	char name[sizeof(config->servers[0].host) + 16];
	/* libgfapi's own, for who looks for a fault. */
	const char *log = getenv("IMAGE_SERVER_LOG");

	volume = glfs_new(config->volume);
	if (!volume)
		return -1;
	glfs_set_logging(volume, log ? log : "/dev/null", log ? LOG_INFO : 0);
	/* The calling thread passes on requests: one thread switch less. */
	glfs_set_xlator_option(volume, "*-io-threads", "pass-through", "true");
	/* What the profile for images has as well: what is answered is on the bricks, and a
	 * lock that the bricks have forgotten is not taken for one that is held. */
	glfs_set_xlator_option(volume, "*-write-behind", "strict-O_DIRECT", "on");
	glfs_set_xlator_option(volume, "*-client-*", "filter-O_DIRECT", "disable");
	glfs_set_xlator_option(volume, "*-client-*", "strict-locks", "on");
	/* Release 11 looks for IPv4 addresses alone otherwise; the name is no translator's. */
	if (is_11 && strchr(config->servers[0].host, ':'))
		glfs_set_xlator_option(volume, "gfapi", "address-family", "inet6");
	for (int i = 0; i < config->server_count; i++) {
		const struct address *server = &config->servers[i];

		fence_allow_port(server->port);
		snprintf(name, sizeof(name), "%s", server->host);
		/* It also interprets what follows the last colon as a port. */
		if (is_11 && strchr(server->host, ':'))
			snprintf(name, sizeof(name), "%s:%d", server->host, server->port);
		glfs_set_volfile_server(volume, "tcp", name, server->port);
	}
	return glfs_init(volume);
}

/* The size of a shard, by the volume's graph. */
static int64_t find_shard_bytes(const char *graph)
{
	static const char option[] = "option shard-block-size ";
	const char *found = strstr(graph, option), *unit;
	char *end;
	int64_t bytes;

	if (!strstr(graph, "type features/shard"))
		return INT64_MAX;
	if (!found)
		return DEFAULT_SHARD;
	bytes = strtoll(found + strlen(option), &end, 10);
	unit = *end ? strchr("KMGT", *end) : NULL;
	if (unit)
		bytes <<= 10 * (unit - "KMGT" + 1);
	return bytes > LEAST_SHARD ? bytes : LEAST_SHARD;
}

static bool has_tls(const char *graph)
{
	const char *found = strstr(graph, TLS_OPTION);

	return found && strncmp(found + strlen(TLS_OPTION), "off", 3) != 0;
}

/* Read the volume's graph: how many bricks it has, 0 if it does not tell. */
static int read_graph(void)
{
	char *text = NULL, *found;
	ssize_t size = 0, answer;
	int count = 0;

	/* The size has to be exact; a new connection may have no text for a moment. */
	for (int i = 0; i < VOLFILE_TRIES; i++) {
		answer = glfs_get_volfile(volume, text, (size_t)size);
		if (answer > 0)
			break;
		size -= answer;
		free(text);
		text = calloc(1, (size_t)size + 1);
		if (!text)
			break;
		if (answer == 0)
			pause_ms(10);
	}
	shard_bytes = text ? find_shard_bytes(text) : LEAST_SHARD;
	/* glusterd is not talked to as bricks are where only one of them has TLS. */
	if (text)
		fence_ask_again(has_tls(text) == (access(SECURE_ACCESS, F_OK) == 0));
	for (found = text; found && (found = strstr(found, "type protocol/client")); found++)
		count++;
	free(text);
	return count;
}

int storage_bricks(void)
{
	return brick_count;
}

int64_t storage_shard_bytes(void)
{
	return shard_bytes;
}

static bool all_bricks_connected(void)
{
	return brick_count > 0 && fence_bricks_connected() >= brick_count;
}

/* Devices with sectors of 4096 bytes refuse less; but not where the file has a hole, which
 * tells nothing.  A client does with 4096 as well. */
static uint32_t probe_block(void)
{
	static const char zeroes[512];
	char buffer[sizeof(zeroes)] = "";

	if (glfs_pread(file, buffer, sizeof(buffer), 0, 0, NULL) != sizeof(buffer) ||
	    !memcmp(buffer, zeroes, sizeof(buffer)))
		return 4096;
	return 512;
}

/* -- the lock and the word ------------------------------------------------------ */

static int set_lock(const struct config *config, int command, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_pid = config->number};

	return glfs_posix_lock(file, command, &lock);
}

static short type_of(bool shared)
{
	return shared ? F_RDLCK : F_WRLCK;
}

/* Who holds the lock that we need, as far as the volume knows. */
static void find_holder(bool shared, struct reason *reason)
{
	struct flock lock = {.l_type = type_of(shared), .l_whence = SEEK_SET};

	reason->number = 0;
	if (glfs_posix_lock(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
		reason->number = lock.l_pid;
		reason->shared = lock.l_type == F_RDLCK;
	}
	snprintf(reason->text, sizeof(reason->text), "the image is open on another node");
}

static bool is_refusal(int error)
{
	return error == EAGAIN || error == EACCES;
}

/* The word on the image: empty if there is none; -1 if it cannot be read. */
static int read_word(char word[WORD_LENGTH + 1], int *number)
{
	char value[WORD_LENGTH + 32] = "";
	ssize_t length = glfs_fgetxattr(file, WORD_ATTRIBUTE, value, sizeof(value) - 1);

	word[0] = '\0';
	*number = 0;
	if (length < 0)
		return errno == ENODATA ? 0 : -1;
	value[length] = '\0';
	if (sscanf(value, "%63s %d", word, number) < 1)
		word[0] = '\0';
	return 0;
}

static int write_word(const struct config *config)
{
	char value[WORD_LENGTH + 32];

	snprintf(value, sizeof(value), "%s %d", config->word, config->number);
	if (glfs_fsetxattr(file, WORD_ATTRIBUTE, value, strlen(value), 0) < 0)
		return -1;
	/* A brick that loses its power would tell an older one. */
	return glfs_fsync(file, NULL, NULL);
}

/* Take the lock at a first start. */
static enum outcome lock_first(const struct config *config, struct held *held,
			       struct reason *reason)
{
	char word[WORD_LENGTH + 1];
	int number;

	if (set_lock(config, F_SETLK, type_of(held->shared)) < 0) {
		int error = errno;

		if (!is_refusal(error))
			return failed(reason, FAILED, "cannot lock the image", error);
		find_holder(held->shared, reason);
		return HELD;
	}
	if (read_word(word, &number) < 0)
		return failed(reason, FAILED, "cannot read the holder of the image", errno);
	if (held->shared) { /* the other end of the migration has the image as well */
		snprintf(held->seen, sizeof(held->seen), "%s", word);
		return OPENED;
	}
	if (word[0] && number != config->number && strcmp(word, config->take) != 0 &&
	    strncmp(word, EVICTED, strlen(EVICTED)) != 0) {
		set_lock(config, F_SETLK, F_UNLCK);
		reason->number = number;
		snprintf(reason->word, sizeof(reason->word), "%s", word);
		snprintf(reason->text, sizeof(reason->text),
			 "the last user of the image has not closed it");
		return FOREIGN;
	}
	if (write_word(config) < 0)
		return failed(reason, FAILED, "cannot record the holder of the image", errno);
	return OPENED;
}

/* Take the lock after a restart: it is still this use's, or lost for good. */
static enum outcome lock_again(const struct config *config, const struct held *held,
			       struct reason *reason)
{
	char word[WORD_LENGTH + 1];
	int number, error = 0;
	bool ours, locked = false;

	for (int waited = 0; !locked && waited < PATIENT_MILLISECONDS; waited += POLL_MILLISECONDS) {
		locked = set_lock(config, F_SETLK, type_of(held->shared)) == 0;
		error = errno;
		if (!locked && !is_refusal(error))
			return failed(reason, FAILED, "cannot lock the image", error);
		if (read_word(word, &number) < 0)
			return failed(reason, FAILED, "cannot read the holder of the image", errno);
		ours = strcmp(word, config->word) == 0 ||
		       (held->shared && strcmp(word, held->seen) == 0);
		if (!ours) {
			if (locked)
				set_lock(config, F_SETLK, F_UNLCK);
			reason->number = number;
			snprintf(reason->text, sizeof(reason->text),
				 "another node has had the image in the meantime");
			return LOST;
		}
		if (!locked)
			pause_ms(POLL_MILLISECONDS);
	}
	if (!locked) {
		find_holder(held->shared, reason);
		return FAILED;
	}
	return OPENED;
}

/* Have our next flush reach a piece that a process before us wrote: by what changes nothing.
 * On a full volume that may fail where the piece is empty, which nobody has to wait for. */
static int own(int64_t offset)
{
	static int64_t last = -1;

	if (offset / shard_bytes == last)
		return 0;
	last = offset / shard_bytes;
	if (glfs_fallocate(file, 0, offset, 1) < 0 && !is_full(errno))
		return errno;
	return 0;
}

enum outcome storage_open(const struct config *config, struct held *held, bool first,
			  struct reason *reason)
{
	char owner[WORD_LENGTH + 16];
	struct stat found;
	enum outcome outcome = OPENED;
	int error;

	memset(reason, 0, sizeof(*reason));
	if (connect_volume(config) < 0)
		return failed(reason, FAILED, "cannot connect to the volume", errno);
	brick_count = read_graph();
	file = glfs_open(volume, config->image, O_RDWR | O_DIRECT);
	if (!file) {
		error = errno;
		bool gone = error == ENOENT && all_bricks_connected();

		return failed(reason, gone ? GONE : FAILED, "cannot open the image", error);
	}
	fence_seal();
	snprintf(owner, sizeof(owner), "ganeti-gluster-%s", config->word);
	if (glfs_fd_set_lkowner(file, owner, (int)strlen(owner)) < 0)
		return failed(reason, FAILED, "cannot set the owner of the lock", errno);
	if (first)
		held->shared = config->shared;
	if (config->locking)
		outcome = first ? lock_first(config, held, reason)
				: lock_again(config, held, reason);
	if (outcome != OPENED)
		return outcome;
	if (glfs_fstat(file, &found) < 0)
		return failed(reason, FAILED, "cannot determine the size of the image", errno);
	held->size = found.st_size;
	held->block = probe_block();
	error = unflushed_init(config, first, held->size);
	if (error)
		return failed(reason, FAILED, "cannot record unflushed writes", error);
	error = unflushed_each(held->size, own);
	if (error)
		return failed(reason, FAILED, "cannot take over unflushed writes", error);
	error = changed_open(volume, config, first, held, found.st_ino);
	if (error)
		return failed(reason, FAILED, "cannot record changes for backups", error);
	return OPENED;
}

/* Only some bricks may have the lock: lock everything again before anything else. */
static enum outcome unlocked(struct reason *reason, int error)
{
	enum outcome outcome = failed(reason, FAILED, "cannot lock the image", error);

	storage_trouble(false, reason->text);
	return outcome;
}

enum outcome storage_set_mode(const struct config *config, struct held *held, bool shared,
			      struct reason *reason)
{
	memset(reason, 0, sizeof(*reason));
	if (!config->locking) {
		held->shared = shared;
		return OPENED;
	}
	for (int waited = 0; set_lock(config, F_SETLK, type_of(shared)) < 0;
	     waited += POLL_MILLISECONDS) {
		if (!is_refusal(errno))
			return unlocked(reason, errno);
		find_holder(shared, reason);
		/* If one brick refuses, replication removes the lock from the others. */
		if (set_lock(config, F_SETLK, type_of(held->shared)) < 0)
			return unlocked(reason, errno);
		if ((reason->number && reason->number != config->number) ||
		    waited >= FORGOTTEN_MILLISECONDS)
			return HELD;
		pause_ms(POLL_MILLISECONDS);
	}
	if (!shared && write_word(config) < 0)
		return failed(reason, FAILED, "cannot record the holder of the image", errno);
	held->shared = shared;
	return OPENED;
}

void storage_let_go(const struct config *config, const struct held *held)
{
	if (!file || !config->locking)
		return;
	/* What both ends of a migration have is the other one's to note. */
	if (!held->shared && glfs_fremovexattr(file, WORD_ATTRIBUTE) < 0)
		say("cannot remove the holder of the image: %s", strerror(errno));
	set_lock(config, F_SETLK, F_UNLCK);
}

/* -- requests ------------------------------------------------------------------- */

static void start(struct request *request);

static void one_less(void)
{
	if (atomic_fetch_sub(&under_way, 1) == 1 && atomic_load(&held_back)) {
		pthread_mutex_lock(&gate);
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&gate);
	}
}

static void park(struct request *request)
{
	pthread_mutex_lock(&gate);
	request->next = parked;
	parked = request;
	parked_count++;
	pthread_mutex_unlock(&gate);
}

bool storage_is_final(int error)
{
	switch (error) {
	case EINVAL:
	case EOPNOTSUPP:
	case EFBIG:
		return true;
	case EIO:
	case ENOENT:
	case ESTALE:
	case EACCES:
	case EPERM:
		return all_bricks_connected();
	default:
		return false;
	}
}

static void completed(struct request *request, int error)
{
	static const char *const names[KINDS] = {"read", "write", "flush", "discard", "zero"};
	char why[TEXT_LENGTH];

	if (error && !storage_is_final(error)) {
		snprintf(why, sizeof(why), "%s: %s", names[request->kind], strerror(error));
		if (storage_patience > 0) {
			park(request);
			request = NULL;
		}
		storage_trouble(is_full(error), why);
	}
	if (request)
		request->done(request, error);
	one_less();
}

static void on_flushed(glfs_fd_t *fd, ssize_t result, struct glfs_stat *before,
		      struct glfs_stat *after, void *data)
{
	struct request *request = data;
	int error = result < 0 ? errno : 0;

	(void)fd, (void)before, (void)after;
	if (request->settles)
		unflushed_end(error == 0);
	completed(request, error);
}

static int flush(struct request *request)
{
	int result;

	request->settles = unflushed_begin();
	result = glfs_fdatasync_async(file, on_flushed, request);
	if (result < 0 && request->settles)
		unflushed_end(false);
	return result;
}

static void finish(struct request *request, int error)
{
	if (!error && request->fua) {
		request->fua = false;
		if (flush(request) == 0)
			return;
		error = errno;
	}
	completed(request, error);
}

void storage_noted(struct request *request, int error)
{
	atomic_fetch_add(&under_way, 1);
	finish(request, error);
}

static void on_done(glfs_fd_t *fd, ssize_t result, struct glfs_stat *before,
		    struct glfs_stat *after, void *data)
{
	struct request *request = data;
	int error = result < 0 ? errno : 0;

	(void)fd, (void)before, (void)after;
	if (!error && request->kind <= WRITE && result != (ssize_t)request->length)
		error = EIO;
	if (error == EOPNOTSUPP && request->kind == ZERO && !request->keep && !request->fast) {
		request->keep = true; /* the bricks cannot punch holes */
		start(request);
		return;
	}
	if (!error && request->kind != READ) {
		unflushed_note(request->offset, request->length);
		if (absent_defer(request)) {
			one_less();
			return;
		}
	}
	finish(request, error);
}

static void start(struct request *request)
{
	int result = -1;

	switch (request->kind) {
	case READ:
		result = glfs_pread_async(file, request->data, request->length,
					  (off_t)request->offset, 0, on_done, request);
		break;
	case WRITE:
		result = glfs_pwrite_async(file, request->data, (int)request->length,
					   (off_t)request->offset, 0, on_done, request);
		break;
	case FLUSH:
		result = flush(request);
		break;
	case TRIM:
		result = glfs_discard_async(file, (off_t)request->offset, request->length, on_done,
					    request);
		break;
	case ZERO:
		if (request->keep)
			result = glfs_zerofill_async(file, (off_t)request->offset,
						     request->length, on_done, request);
		else
			result = glfs_discard_async(file, (off_t)request->offset, request->length,
						    on_done, request);
		break;
	default:
		errno = EINVAL;
	}
	if (result < 0)
		completed(request, errno);
}

void storage_submit(struct request *request)
{
	for (;;) {
		atomic_fetch_add(&under_way, 1);
		if (!atomic_load(&held_back))
			break;
		one_less();
		pthread_mutex_lock(&gate);
		while (atomic_load(&held_back))
			pthread_cond_wait(&changed, &gate);
		pthread_mutex_unlock(&gate);
	}
	if (request->kind != READ && request->kind != FLUSH && changed_defer(request))
		return;
	start(request);
}

void storage_marked(struct request *request, int error)
{
	if (error)
		completed(request, error);
	else
		start(request);
}

bool storage_hold(int milliseconds)
{
	struct timespec until;
	bool empty;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += milliseconds / 1000;
	until.tv_nsec += milliseconds % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&gate);
	atomic_fetch_add(&held_back, 1);
	while (atomic_load(&under_way) > 0 &&
	       pthread_cond_timedwait(&changed, &gate, &until) != ETIMEDOUT)
		;
	empty = atomic_load(&under_way) == 0;
	pthread_mutex_unlock(&gate);
	return empty;
}

void storage_go_on(void)
{
	pthread_mutex_lock(&gate);
	atomic_fetch_sub(&held_back, 1);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&gate);
}

int storage_flush(void)
{
	bool settles = unflushed_begin();
	int error = glfs_fdatasync(file, NULL, NULL) < 0 ? errno : 0;

	if (settles)
		unflushed_end(error == 0);
	return error;
}

/* An operation whose record GlusterFS does not delay, and another that waits for it. */
static int note_at(off_t offset)
{
	for (int i = 0; i < 2; i++)
		if (glfs_fallocate(file, 0, offset, 1) < 0)
			return errno;
	return 0;
}

int storage_note(const struct request *request)
{
	off_t offset = (off_t)request->offset, end = offset + request->length;

	if (request->kind != WRITE && !request->keep) { /* what was given back stays so */
		for (int i = 0; i < 2; i++)
			if (glfs_discard(file, offset, request->length) < 0)
				return errno;
		return 0;
	}
	while (offset < end) {
		int error = note_at(offset);

		if (error)
			return error;
		offset = (offset / shard_bytes + 1) * shard_bytes;
	}
	return 0;
}

int storage_grow(int64_t size)
{
	/* A brick that loses its power would tell the old size. */
	if (glfs_ftruncate(file, size, NULL, NULL) < 0 || glfs_fsync(file, NULL, NULL) < 0)
		return errno;
	/* The image's first file has the size. */
	return fence_bricks_connected() < brick_count ? note_at(0) : 0;
}

int storage_waiting(void)
{
	int count;

	pthread_mutex_lock(&gate);
	count = parked_count;
	pthread_mutex_unlock(&gate);
	return count;
}

void storage_again(bool give_up)
{
	struct request *request, *next;

	pthread_mutex_lock(&gate);
	request = parked;
	parked = NULL;
	parked_count = 0;
	pthread_mutex_unlock(&gate);
	for (; request; request = next) {
		next = request->next;
		if (give_up)
			request->done(request, ENOSPC);
		else
			storage_submit(request);
	}
}
