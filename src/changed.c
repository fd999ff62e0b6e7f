/* What of the image has changed since points that its backups name (doc/changed-blocks.rst).
 *
 * Each point is a file on the volume, /.ganeti-gluster/changed/INODE/POINT.ONCE.  INODE is the
 * image's, so the points follow an image that is renamed, and another image at its path has none.
 * ONCE is used once, because clients remember for a while what a name was.  The file has a head
 * (lines NAME=VALUE), a bit for each region that may have been written since the bits of pieces
 * were stored, and these bits of pieces:
 *
 * - A region's bit is stored, on all bricks, before the first write to the region is sent.
 * - The bits of pieces are in KEY.changed.POINT, in memory that survives the process, and are
 *   stored when the image is closed.  If the node dies before, all pieces of the marked regions
 *   count as changed.
 *
 * During a migration two servers have the file open, of which one at a time has a guest.  It
 * therefore adds regions to what is on the volume, and stores no pieces.
 *
 * Whether anybody else wrote to the image while it was closed is checked by the package's Python
 * code (ganeti_gluster.core.changed.check), which is started only if there are points.
 */
#include "server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

/* The same as in ganeti_gluster.core.changed.record. */
#define TOP "/.ganeti-gluster"
#define DIRECTORY TOP "/changed"
#define MAGIC "ganeti-gluster-changed=2\n"
#define HEAD_BYTES 4096
#define REGIONS_AT 4096
#define PIECES_AT (1 << 20)
#define REGION_SHIFT 26
#define PIECE_SHIFT 16
#define MAX_POINTS 8
#define MAX_SIZE (64ll << 40)
#define MAX_REGIONS (MAX_SIZE >> REGION_SHIFT)
#define MAX_PIECES (MAX_SIZE >> PIECE_SHIFT)
#define BLOCK 4096
#define BITS_IN_BLOCK (BLOCK * 8)
#define NAME_LENGTH 64
/* The same with what is used once. */
#define FILE_LENGTH 96
#define CHECK_SECONDS 60
#define HOLD_MILLISECONDS 25000

extern char **environ;

struct map {
	_Atomic uint64_t words[MAX_REGIONS / 64];
};

struct point {
	char name[NAME_LENGTH];
	char path[192];          /* of its file on the volume */
	glfs_fd_t *file;
	int64_t began_size;      /* of the image when the point began */
	int64_t stored;          /* bytes of the pieces' bits in the file */
	struct map *wanted;      /* regions: what is written to the file ... */
	struct map *marked;      /* ... and what is stored in it */
	_Atomic uint64_t *pieces;
	atomic_bool lost;
};

static glfs_t *volume;
static const struct config *config;
static char directory[64];
static int64_t image_size;
static atomic_bool shared;

/* Points change only while no request is under way. */
static struct point points[MAX_POINTS];
static atomic_int count;

/* Who has this lock reads and writes the points' files. */
static pthread_mutex_t files = PTHREAD_MUTEX_INITIALIZER;
/* Who has this one, too, changes the table of points. */
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
/* This one is for the requests that wait for marks. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct request *queue;
static bool working;

static bool has(const _Atomic uint64_t *words, uint64_t bit)
{
	return atomic_load(&words[bit / 64]) >> bit % 64 & 1;
}

static void set(_Atomic uint64_t *words, uint64_t bit)
{
	if (!has(words, bit))
		atomic_fetch_or(&words[bit / 64], 1ull << bit % 64);
}

static void set_pieces(struct point *point, uint64_t offset, uint64_t length)
{
	uint64_t last = (offset + length - 1) >> PIECE_SHIFT;

	for (uint64_t piece = offset >> PIECE_SHIFT; piece <= last && piece < MAX_PIECES; piece++)
		set(point->pieces, piece);
}

static uint64_t first_region(const struct request *request)
{
	return request->offset >> REGION_SHIFT;
}

static uint64_t last_region(const struct request *request)
{
	return (request->offset + request->length - 1) >> REGION_SHIFT;
}

/* Bytes of a map with a bit for each 1 << `shift` bytes of the image, in blocks. */
static size_t map_bytes(int64_t size, int shift)
{
	int64_t bits = ((size - 1) >> shift) + 1;

	return (size_t)((bits + BITS_IN_BLOCK - 1) / BITS_IN_BLOCK * BLOCK);
}

static size_t region_bytes(void)
{
	return map_bytes(image_size, REGION_SHIFT);
}

/* -- files ------------------------------------------------------------------------------- */

static int read_all(glfs_fd_t *file, void *data, size_t size, off_t offset)
{
	memset(data, 0, size);
	for (size_t done = 0; done < size;) {
		size_t part = size - done < MAX_DATA ? size - done : MAX_DATA;
		ssize_t got = glfs_pread(file, (char *)data + done, part, offset + (off_t)done, 0, NULL);

		if (got < 0)
			return errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return 0;
}

static int write_all(glfs_fd_t *file, const void *data, size_t size, off_t offset)
{
	for (size_t done = 0; done < size;) {
		size_t part = size - done < MAX_DATA ? size - done : MAX_DATA;
		ssize_t put = glfs_pwrite(file, (const char *)data + done, part, offset + (off_t)done, 0,
					  NULL, NULL);

		if (put <= 0)
			return put < 0 ? errno : EIO;
		done += (size_t)put;
	}
	return 0;
}

/* Have all bricks store it, and those that are there record what others lack (storage_note). */
static int store(glfs_fd_t *file, off_t offset)
{
	if (glfs_fsync(file, NULL, NULL) < 0)
		return errno;
	for (int i = 0; fence_bricks_connected() < storage_bricks() && i < 2; i++)
		if (glfs_fallocate(file, 0, offset, 1) < 0)
			return errno;
	return 0;
}

static int write_head(struct point *point, const char *state, const char *why)
{
	char *head = aligned_alloc(BLOCK, HEAD_BYTES);
	int error;

	if (!head)
		return ENOMEM;
	memset(head, 0, HEAD_BYTES);
	snprintf(head, HEAD_BYTES, MAGIC "state=%s\nsince=%.6f\nsize=%lld\npieces=%lld\nwhy=%s\n", state,
		 state_now(), (long long)point->began_size, (long long)point->stored, why);
	error = write_all(point->file, head, HEAD_BYTES, 0);
	free(head);
	return error ? error : store(point->file, 0);
}

/* Whether a file is a point to record for; its head is read. */
static bool parse_head(struct point *point, char *head)
{
	const char *text = head + strlen(MAGIC), *state, *size, *pieces;

	if (strncmp(head, MAGIC, strlen(MAGIC)) != 0)
		return false;
	state = strstr(text, "state=");
	size = strstr(text, "\nsize=");
	pieces = strstr(text, "\npieces=");
	if (!state || !size || !pieces || !strncmp(state, "state=lost\n", 11))
		return false;
	point->began_size = strtoll(size + 6, NULL, 10);
	point->stored = strtoll(pieces + 8, NULL, 10);
	return point->stored >= 0 && point->stored <= MAX_PIECES / 8;
}

/* By the name of its file. */
static void name_point(struct point *point, const char *name)
{
	snprintf(point->name, sizeof(point->name), "%.*s", (int)strcspn(name, "."), name);
	snprintf(point->path, sizeof(point->path), "%s/%.*s", directory, FILE_LENGTH - 1, name);
}

static void free_point(struct point *point)
{
	if (point->file)
		glfs_close(point->file);
	if (point->pieces)
		munmap(point->pieces, MAX_PIECES / 8);
	free(point->wanted);
	free(point->marked);
	memset(point, 0, sizeof(*point));
}

static const char *memory_path(const struct point *point)
{
	char suffix[NAME_LENGTH + 16];

	snprintf(suffix, sizeof(suffix), "changed.%.*s", NAME_LENGTH - 1, point->name);
	return state_path(config, suffix);
}

/* The bits of pieces in memory; `kept` tells whether those of the former process are there. */
static int map_pieces(struct point *point, bool first, bool *kept)
{
	const char *path = memory_path(point);
	struct stat found;
	void *mapped;
	int fd, error;

	if (first)
		unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	*kept = fstat(fd, &found) == 0 && found.st_size == MAX_PIECES / 8;
	/* Memory that is short is an error here, and no signal. */
	error = posix_fallocate(fd, 0, (off_t)map_bytes(image_size, PIECE_SHIFT));
	if (!error && ftruncate(fd, MAX_PIECES / 8) < 0)
		error = errno;
	mapped = error ? MAP_FAILED
		       : mmap(NULL, MAX_PIECES / 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!error && mapped == MAP_FAILED)
		error = errno;
	close(fd);
	if (error)
		unlink(path);
	else
		point->pieces = mapped;
	return error;
}

static int allocate(struct point *point, bool first, bool *kept)
{
	point->wanted = calloc(1, sizeof(*point->wanted));
	point->marked = calloc(1, sizeof(*point->marked));
	if (!point->wanted || !point->marked)
		return ENOMEM;
	return map_pieces(point, first, kept);
}

/* Add the regions that are marked on the volume, by another server or before; with `expand`
 * the pieces of those that were not known count as changed. */
static int take_regions(struct point *point, bool expand)
{
	size_t bytes = region_bytes();
	uint64_t *found = aligned_alloc(BLOCK, bytes);
	int error = found ? read_all(point->file, found, bytes, REGIONS_AT) : ENOMEM;

	for (uint64_t region = 0; !error && region < bytes * 8; region++) {
		if (!(found[region / 64] >> region % 64 & 1))
			continue;
		if (expand && !has(point->marked->words, region))
			set_pieces(point, region << REGION_SHIFT, 1ull << REGION_SHIFT);
		set(point->wanted->words, region);
		set(point->marked->words, region);
	}
	free(found);
	return error;
}

static int take_pieces(struct point *point)
{
	size_t bytes = (size_t)point->stored;
	uint64_t *found;
	int error;

	if (!bytes)
		return 0;
	found = aligned_alloc(BLOCK, (bytes + BLOCK - 1) / BLOCK * BLOCK);
	error = found ? read_all(point->file, found, (bytes + BLOCK - 1) / BLOCK * BLOCK, PIECES_AT)
		      : ENOMEM;
	for (size_t word = 0; !error && word < bytes / 8; word++)
		if (found[word])
			atomic_fetch_or(&point->pieces[word], found[word]);
	free(found);
	return error;
}

/* Record no more for a point; its file says why. */
static int lose(struct point *point, const char *why)
{
	int error = write_head(point, "lost", why);

	/* Where it cannot be said, there is no point. */
	if (error && glfs_unlink(volume, point->path) < 0)
		return error;
	say("changes since point %s are not recorded any more: %s", point->name, why);
	unlink(memory_path(point));
	return 0;
}

static int load(const char *name, bool first)
{
	struct point *point = &points[atomic_load(&count)];
	char *head = aligned_alloc(BLOCK, 2 * BLOCK);
	bool kept = false, known;
	int error;

	name_point(point, name);
	point->file = glfs_open(volume, point->path, O_RDWR | O_DIRECT);
	error = point->file ? (head ? read_all(point->file, head, HEAD_BYTES, 0) : ENOMEM) : errno;
	if (!error)
		head[HEAD_BYTES] = '\0';
	known = !error && parse_head(point, head);
	free(head);
	if (!known) {
		free_point(point);
		return error;
	}
	error = allocate(point, first, &kept);
	if (error) {
		error = lose(point, strerror(error));
	} else {
		error = take_pieces(point);
		if (!error)
			error = take_regions(point, !kept || atomic_load(&shared));
		if (!error && first)
			error = write_head(point, "open", "");
		if (!error) {
			atomic_fetch_add(&count, 1);
			return 0;
		}
	}
	free_point(point);
	return error;
}

/* -- open and close ------------------------------------------------------------------------ */

/* Whether the points are what they say, or have been told to be lost. */
static int check(void)
{
	char *const argv[] = {"/usr/bin/python3", "-P", "-m", "ganeti_gluster.core.changed.check",
			      (char *)config->key, NULL};
	struct timeval limit = {CHECK_SECONDS, 0};
	posix_spawn_file_actions_t actions;
	char answer[16] = "";
	int ends[2], failed;
	ssize_t length;
	pid_t helper;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	failed = posix_spawn(&helper, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	length = failed ? -1 : recv(ends[0], answer, sizeof(answer) - 1, 0);
	close(ends[0]);
	return length > 0 && !strcmp(answer, "ok\n") ? 0 : EIO;
}

static int each_file(int (*take)(const char *name, void *data), void *data)
{
	glfs_fd_t *listed = glfs_opendir(volume, directory);
	struct dirent entry, *found;
	int error = 0;

	if (!listed)
		return errno == ENOENT ? 0 : errno;
	while (!error && (error = glfs_readdir_r(listed, &entry, &found) < 0 ? errno : 0) == 0 && found)
		if (found->d_name[0] != '.')
			error = take(found->d_name, data);
	glfs_closedir(listed);
	return error;
}

static int remember(const char *name, void *data)
{
	char (*names)[FILE_LENGTH] = data;

	for (int i = 0; i < MAX_POINTS; i++)
		if (!names[i][0]) {
			snprintf(names[i], FILE_LENGTH, "%.*s", FILE_LENGTH - 1, name);
			return 0;
		}
	return EMFILE;
}

/* The points cannot be used: they are said to be lost. */
static int lose_all(char (*names)[FILE_LENGTH], const char *why)
{
	int error = 0;

	for (int i = 0; i < MAX_POINTS && names[i][0] && !error; i++) {
		struct point point = {0};

		name_point(&point, names[i]);
		point.file = glfs_open(volume, point.path, O_RDWR | O_DIRECT);
		error = point.file ? lose(&point, why) : errno;
		free_point(&point);
	}
	return error;
}

int changed_open(glfs_t *opened, const struct config *wanted, bool first, const struct held *held,
		 uint64_t inode)
{
	char names[MAX_POINTS][FILE_LENGTH] = {""};
	int error;

	volume = opened;
	config = wanted;
	image_size = held->size;
	atomic_store(&shared, held->shared);
	snprintf(directory, sizeof(directory), DIRECTORY "/%016llx", (unsigned long long)inode);
	error = each_file(remember, names);
	if (error || !names[0][0])
		return error;
	if (!wanted->locking)
		return lose_all(names, "the locks of the disk are disabled");
	if (image_size > MAX_SIZE)
		return lose_all(names, "the disk is larger than 64 TiB");
	if (first && !held->shared && check() != 0)
		return lose_all(names, "whether others had written to the image could not be checked");
	for (int i = 0; i < MAX_POINTS && names[i][0] && !error; i++)
		error = load(names[i], first);
	return error;
}

/* Store the pieces of a point, after which no region is marked.  Nothing is under way. */
static int settle(struct point *point, const char *state)
{
	size_t pieces = map_bytes(image_size, PIECE_SHIFT), regions = region_bytes();
	void *zeroes = aligned_alloc(BLOCK, regions);
	int error = zeroes ? write_all(point->file, point->pieces, pieces, PIECES_AT) : ENOMEM;

	if (!error)
		error = store(point->file, PIECES_AT);
	/* The head has their number before the regions are gone, or those behind it were lost. */
	if (!error && point->stored != (int64_t)pieces) {
		int64_t before = point->stored;

		point->stored = (int64_t)pieces;
		error = write_head(point, "open", "");
		if (error)
			point->stored = before;
	}
	if (!error) {
		memset(zeroes, 0, regions);
		memset(point->marked, 0, regions);
		memset(point->wanted, 0, regions);
		error = write_all(point->file, zeroes, regions, REGIONS_AT);
	}
	if (!error)
		error = write_head(point, state, "");
	free(zeroes);
	return error;
}

void changed_close(void)
{
	pthread_mutex_lock(&files);
	for (int i = 0; i < atomic_load(&count); i++) {
		/* What another server has as well, it goes on with. */
		bool mine = !atomic_load(&shared) && !atomic_load(&points[i].lost);
		int error = mine ? settle(&points[i], "closed") : 0;

		if (error)
			say("cannot record what has changed since %s: %s", points[i].name,
			    strerror(error));
		unlink(memory_path(&points[i]));
	}
	pthread_mutex_unlock(&files);
}

void changed_names(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	pthread_mutex_lock(&table);
	for (int i = 0; i < atomic_load(&count) && used < size; i++)
		if (!atomic_load(&points[i].lost))
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "",
						 points[i].name);
	pthread_mutex_unlock(&table);
}

bool changed_has_points(void)
{
	return atomic_load(&count) > 0;
}

/* To be called before others may lock the image.  Nothing is under way. */
int changed_share(void)
{
	int error = 0;

	pthread_mutex_lock(&files);
	for (int i = 0; i < atomic_load(&count) && !error && !atomic_load(&shared); i++)
		if (!atomic_load(&points[i].lost))
			error = settle(&points[i], "open");
	if (!error)
		atomic_store(&shared, true);
	pthread_mutex_unlock(&files);
	return error;
}

/* To be called once nobody else has the image. */
int changed_alone(void)
{
	int error = 0;

	pthread_mutex_lock(&files);
	for (int i = 0; i < atomic_load(&count) && !error && atomic_load(&shared); i++)
		error = take_regions(&points[i], true);
	if (!error)
		atomic_store(&shared, false);
	/* The next process then goes by what is on the volume. */
	for (int i = 0; i < atomic_load(&count) && error; i++)
		unlink(memory_path(&points[i]));
	pthread_mutex_unlock(&files);
	return error;
}

int changed_grow(int64_t size)
{
	int error = size > MAX_SIZE && atomic_load(&count) ? EFBIG : 0;

	for (int i = 0; i < atomic_load(&count) && !error; i++) {
		int fd = open(memory_path(&points[i]), O_RDWR | O_CLOEXEC);

		error = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)map_bytes(size, PIECE_SHIFT));
		if (fd >= 0)
			close(fd);
	}
	if (!error)
		image_size = size;
	return error;
}

/* -- marks --------------------------------------------------------------------------------- */

static bool is_marked(const struct point *point, const struct request *request)
{
	if (atomic_load(&point->lost))
		return true;
	for (uint64_t region = first_region(request); region <= last_region(request); region++)
		if (!has(point->marked->words, region))
			return false;
	return true;
}

/* Store the marks of all requests of a list; an errno, or 0. */
static int mark(struct point *point, const struct request *requests)
{
	uint64_t least = MAX_REGIONS, most = 0;
	off_t begin, bytes;
	void *data;
	int error;

	for (const struct request *one = requests; one; one = one->next) {
		if (is_marked(point, one))
			continue;
		least = first_region(one) < least ? first_region(one) : least;
		most = last_region(one) > most ? last_region(one) : most;
		for (uint64_t region = first_region(one); region <= last_region(one); region++)
			set(point->wanted->words, region);
	}
	if (least > most)
		return 0;
	error = atomic_load(&shared) ? take_regions(point, true) : 0;
	begin = (off_t)(least / BITS_IN_BLOCK * BLOCK);
	bytes = (off_t)(most / BITS_IN_BLOCK * BLOCK) + BLOCK - begin;
	data = aligned_alloc(BLOCK, (size_t)bytes);
	if (!data)
		return ENOMEM;
	memcpy(data, (char *)point->wanted + begin, (size_t)bytes);
	if (!error)
		error = write_all(point->file, data, (size_t)bytes, REGIONS_AT + begin);
	free(data);
	if (!error)
		error = store(point->file, REGIONS_AT + begin);
	for (const struct request *one = requests; one && !error; one = one->next)
		for (uint64_t region = first_region(one); region <= last_region(one); region++)
			set(point->marked->words, region);
	return error;
}

/* The same, where an error that does not pass costs the point, and no request. */
static int mark_or_lose(struct point *point, const struct request *requests)
{
	int error = atomic_load(&point->lost) ? 0 : mark(point, requests);

	if (!error || !storage_is_final(error))
		return error;
	error = lose(point, strerror(error));
	if (!error)
		atomic_store(&point->lost, true);
	return error;
}

static bool has_work(void)
{
	bool found;

	pthread_mutex_lock(&lock);
	found = working = queue != NULL;
	pthread_mutex_unlock(&lock);
	return found;
}

static void *work(void *data)
{
	struct request *requests, *next;

	while (has_work()) {
		int error = 0;

		pthread_mutex_lock(&lock);
		requests = queue;
		queue = NULL;
		pthread_mutex_unlock(&lock);
		pthread_mutex_lock(&files);
		for (int i = 0; i < atomic_load(&count) && !error; i++)
			error = mark_or_lose(&points[i], requests);
		pthread_mutex_unlock(&files);
		for (; requests; requests = next) {
			next = requests->next;
			storage_marked(requests, error);
		}
	}
	return data;
}

bool changed_defer(struct request *request)
{
	bool all = true;

	for (int i = 0; i < atomic_load(&count); i++) {
		set_pieces(&points[i], request->offset, request->length);
		all &= is_marked(&points[i], request);
	}
	if (all)
		return false;
	pthread_mutex_lock(&lock);
	request->next = queue;
	queue = request;
	if (!working)
		working = start_thread(work, NULL);
	/* If no thread can be created, the next request that waits tries again. */
	pthread_mutex_unlock(&lock);
	return true;
}

/* -- points -------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return length > 0 && length < NAME_LENGTH && !name[length];
}

static int make_directories(void)
{
	const char *const paths[] = {TOP, DIRECTORY, directory};

	for (int i = 0; i < 3; i++)
		if (glfs_mkdir(volume, paths[i], 0700) < 0 && errno != EEXIST)
			return errno;
	return 0;
}

static void partial_path(const struct point *point, char *path, size_t size)
{
	snprintf(path, size, "%s/.%s", directory, point->name);
}

/* Make the file of a point under a name that does not count. */
static int make(struct point *point)
{
	char path[sizeof(point->path) + 8];
	bool kept;
	int error = make_directories();

	if (error)
		return error;
	partial_path(point, path, sizeof(path));
	glfs_unlink(volume, path); /* what was left of a start that was cut short */
	point->file = glfs_creat(volume, path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0600);
	if (!point->file)
		return errno;
	point->began_size = image_size;
	error = allocate(point, true, &kept);
	return error ? error : settle(point, "open");
}

static void unmake(struct point *point)
{
	char path[sizeof(point->path) + 8];

	partial_path(point, path, sizeof(path));
	glfs_unlink(volume, path);
	unlink(memory_path(point));
	free_point(point);
}

/* Remove the file of a point. */
static int erase(struct point *point)
{
	/* A brick that loses its power may bring the name back, which then tells this. */
	int error = write_head(point, "lost", "it was dropped");

	if (!error && (glfs_ftruncate(point->file, HEAD_BYTES, NULL, NULL) < 0 ||
		       glfs_unlink(volume, point->path) < 0))
		error = errno;
	unlink(memory_path(point));
	free_point(point);
	return error;
}

/* Remove a file of the point that is wanted, which is not recorded for. */
static int erase_file(const char *name, void *data)
{
	const struct point *wanted = data;
	struct point found = {0};

	name_point(&found, name);
	if (strcmp(found.name, wanted->name) != 0)
		return 0;
	found.file = glfs_open(volume, found.path, O_RDWR | O_DIRECT);
	return found.file ? erase(&found) : errno;
}

/* Call `change` while no request is under way. */
static int held_back(int (*change)(struct point *point), struct point *point)
{
	int error = ETIMEDOUT;

	if (storage_hold(HOLD_MILLISECONDS)) {
		pthread_mutex_lock(&files);
		pthread_mutex_lock(&table);
		error = change(point);
		pthread_mutex_unlock(&table);
		pthread_mutex_unlock(&files);
	}
	storage_go_on();
	return error;
}

static int find(const char *name)
{
	int i = 0;

	while (i < atomic_load(&count) && strcmp(points[i].name, name) != 0)
		i++;
	return i;
}

/* Changes are not recorded any more for a point, which is one of the table. */
static int take_out(struct point *point)
{
	int i = find(point->name), last = atomic_load(&count) - 1;

	*point = points[i];
	points[i] = points[last];
	memset(&points[last], 0, sizeof(points[last]));
	atomic_fetch_sub(&count, 1);
	return 0;
}

static int drop(const struct point *wanted)
{
	struct point gone = *wanted;
	int error = 0;

	if (find(wanted->name) < atomic_load(&count)) {
		error = held_back(take_out, &gone);
		if (!error)
			error = erase(&gone);
	}
	if (!error)
		error = each_file(erase_file, (void *)wanted);
	glfs_rmdir(volume, directory); /* if it was the last one */
	return error;
}

/* From now on all changes are recorded. */
static int put(struct point *point)
{
	char path[sizeof(point->path) + 8];

	partial_path(point, path, sizeof(path));
	if (glfs_rename(volume, path, point->path) < 0)
		return errno;
	points[atomic_load(&count)] = *point;
	atomic_fetch_add(&count, 1);
	return 0;
}

static int begin(struct point *wanted)
{
	int error = drop(wanted);

	if (!error && image_size > MAX_SIZE)
		error = EFBIG;
	if (!error && atomic_load(&count) == MAX_POINTS)
		error = EMFILE;
	if (error)
		return error;
	error = make(wanted);
	if (!error)
		error = held_back(put, wanted);
	if (error)
		unmake(wanted);
	return error;
}

int changed_change(const char *name, bool begins)
{
	struct point point = {0};
	char once[FILE_LENGTH];

	if (!is_name(name))
		return EINVAL;
	if (atomic_load(&shared) || !config->locking)
		return EBUSY;
	snprintf(once, sizeof(once), "%.*s.%llx", NAME_LENGTH - 1, name,
		 (unsigned long long)(state_now() * 1e6));
	name_point(&point, once);
	return begins ? begin(&point) : drop(&point);
}
