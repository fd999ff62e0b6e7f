/* Which shards of the image were written and not flushed yet.
 *
 * A flush through GlusterFS's shard translator only covers the shards that the same process has
 * written (shard_fsync).  So writes are recorded in KEY.unflushed, in memory that survives the
 * process.  The next process adopts those shards before it serves anybody.
 *
 * The file has two bitmaps with a bit for each 4 MiB, the smallest shard size: what was written
 * since the last flush began, and what that flush covers.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE_SHIFT 22
/* 64 TiB; the last bit is for all that follows, too. */
#define PIECES (1u << 24)
#define WORDS (PIECES / 64)

struct maps {
	_Atomic uint64_t written[WORDS];
	_Atomic uint64_t flushing[WORDS];
};

static struct maps *maps;
/* How many words of the maps may have bits: memory is used for no more. */
static _Atomic uint32_t used;
static atomic_bool in_flush;

static uint32_t piece_of(uint64_t offset)
{
	uint64_t piece = offset >> PIECE_SHIFT;

	return piece < PIECES ? (uint32_t)piece : PIECES - 1;
}

static void use_until(uint32_t piece)
{
	uint32_t wanted = piece / 64 + 1, known = atomic_load(&used);

	while (known < wanted && !atomic_compare_exchange_weak(&used, &known, wanted))
		;
}

int unflushed_init(const struct config *config, bool first, int64_t size)
{
	const char *path = state_path(config, "unflushed");
	uint32_t last;
	int fd, error;

	if (first)
		unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	/* What may be written is there: memory that is short is an error here, and no signal. */
	last = size > 0 ? piece_of((uint64_t)size - 1) : 0;
	error = ftruncate(fd, sizeof(*maps)) < 0 ? errno : 0;
	for (size_t map = 0; !error && map < 2; map++)
		error = posix_fallocate(fd, (off_t)(map * sizeof(maps->written)), last / 8 + 8);
	if (!error)
		maps = mmap(NULL, sizeof(*maps), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (!error && maps == MAP_FAILED)
		error = errno;
	if (!error)
		use_until(last);
	return error;
}

void unflushed_note(uint64_t offset, uint64_t length)
{
	uint32_t piece = piece_of(offset), last = piece_of(offset + length - 1);

	use_until(last);
	for (; piece <= last; piece++) {
		uint64_t bit = 1ull << piece % 64;

		if (!(atomic_load(&maps->written[piece / 64]) & bit))
			atomic_fetch_or(&maps->written[piece / 64], bit);
	}
}

bool unflushed_begin(void)
{
	if (atomic_exchange(&in_flush, true))
		return false;
	for (uint32_t word = 0; word < atomic_load(&used); word++)
		if (atomic_load(&maps->written[word]))
			atomic_fetch_or(&maps->flushing[word],
					atomic_exchange(&maps->written[word], 0));
	return true;
}

void unflushed_end(bool flushed)
{
	for (uint32_t word = 0; flushed && word < atomic_load(&used); word++)
		if (atomic_load(&maps->flushing[word]))
			atomic_store(&maps->flushing[word], 0);
	atomic_store(&in_flush, false);
}

int unflushed_each(int64_t size, int (*take)(int64_t offset))
{
	for (uint32_t word = 0; word < atomic_load(&used); word++) {
		uint64_t bits = atomic_load(&maps->written[word]) |
				atomic_load(&maps->flushing[word]);

		for (uint32_t bit = 0; bits >> bit; bit++) {
			uint32_t piece = word * 64 + bit;
			int64_t offset = (int64_t)piece << PIECE_SHIFT, end;

			if (!(bits >> bit & 1))
				continue;
			end = piece < PIECES - 1 ? offset + 1 : size;
			for (; offset < end && offset < size; offset += 1 << PIECE_SHIFT) {
				int error = take(offset);

				if (error)
					return error;
			}
			if (bit == 63)
				break;
		}
	}
	return 0;
}
