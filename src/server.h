/* The image server: the interfaces of its parts.
 *
 * storage.c    the volume, the image, its lock, requests to it
 * fence.c      refuses new connections to bricks while the lock is held
 * nbd.c        the NBD protocol on a unix socket
 * absent.c     records in time what a brick that is down lacks
 * unflushed.c  what was written and not flushed, also by the previous process
 * extents.c    where the image has data
 * changed.c    what has changed since points that backups name
 * state.c      files below the run directory, messages to systemd
 * control.c    the control socket
 * main.c       the main loop
 */
#ifndef SERVER_H
#define SERVER_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_SERVERS 32
#define WORD_LENGTH 63
#define TEXT_LENGTH 512
/* Bytes of a request at most: QEMU and the kernel split what is longer. */
#define MAX_DATA (1u << 20)

/* -- state.c: what the process is told, and what it tells ------------------ */

struct address {
	char host[256];
	int port;
};

/* KEY.conf, written by whoever starts the server. */
struct config {
	char key[128];
	char volume[256];
	char image[1025];
	struct address servers[MAX_SERVERS];
	int server_count;
	int number;              /* of this node, the l_pid of its locks */
	char word[WORD_LENGTH + 1]; /* this use of the image, unlike any other */
	char take[WORD_LENGTH + 1]; /* another's word that counts no more */
	bool locking;
	bool shared;             /* at first */
	int patience;            /* seconds */
};

/* KEY.held, written once the lock is held: a start that finds it is a restart. */
struct held {
	bool shared;
	char seen[WORD_LENGTH + 1]; /* the word that was there when it was shared */
	int64_t size;
	uint32_t block;
	double waiting;          /* since when the storage is away, 0 for not */
	char why[TEXT_LENGTH];
	bool lost;
	char clients[TEXT_LENGTH]; /* processes: "PID/START PID/START", newest first */
	uid_t owner;             /* who may connect beside root: the user of QEMU */
};

const char *state_path(const struct config *config, const char *suffix);
int state_read_config(const char *key, struct config *config);
bool state_read_held(const struct config *config, struct held *held);
void state_write_held(const struct config *config, const struct held *held);
void state_write_error(const struct config *config, const char *what, const char *text);
double state_now(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* -- fence.c ---------------------------------------------------------------- */

/* `denied` is called, in any thread, for each connection that is refused. */
void fence_watch(void (*denied)(void));
/* From now on connections to bricks are refused. */
void fence_seal(void);
void fence_allow_port(int port);
/* Whether each second attempt in a row to connect to a brick goes to its glusterd instead. */
void fence_ask_again(bool asks);
/* End attempts to connect that take too long; to be called while the image is opened. */
void fence_give_up_slow(void);
/* Whether a brick that was refused a connection accepts one. */
bool fence_brick_is_back(void);
/* Connections to bricks that are there now. */
int fence_bricks_connected(void);

/* -- storage.c --------------------------------------------------------------- */

enum outcome {
	OPENED,
	FAILED,       /* for now: to be tried again, or told to whoever starts us */
	GONE,         /* the image does not exist */
	HELD,         /* another has the lock */
	FOREIGN,      /* the lock is free, but the last user has not said that it ended */
	LOST,         /* another has had the image since: nothing is served ever again */
};

struct reason {
	int number;              /* the other's, 0 if not known */
	bool shared;
	char word[WORD_LENGTH + 1];
	char text[TEXT_LENGTH];
};

enum kind { READ, WRITE, FLUSH, TRIM, ZERO, KINDS };

/* One request of a client.  `done` is called once, in any thread, with an errno or 0. */
struct request {
	enum kind kind;
	bool fua;
	bool keep;               /* ZERO: blocks are to be allocated */
	bool fast;               /* ZERO: nothing is to be written */
	bool settles;            /* its flush is the one that unflushed.c goes by */
	int error;               /* of absent.c */
	uint64_t offset;
	uint32_t length;
	char *data;
	void (*done)(struct request *request, int error);
	struct request *next;    /* of those that wait */
};

/* -- absent.c ----------------------------------------------------------------- */

/* Whether a change of the image, which is done, is answered later: by `storage_noted`. */
bool absent_defer(struct request *request);

enum outcome storage_open(const struct config *config, struct held *held, bool first,
			  struct reason *reason);
enum outcome storage_set_mode(const struct config *config, struct held *held, bool shared,
			      struct reason *reason);
/* Whether an error is permanent, however often the request is repeated. */
bool storage_is_final(int error);
/* How many bricks the volume has, 0 where that is not known yet. */
int storage_bricks(void);
/* How long the files are that the image is made of. */
int64_t storage_shard_bytes(void);
/* Have the copies note what others lack of a request that is done: an errno, or 0.  To be
 * called while requests are held back. */
int storage_note(const struct request *request);
/* Answer a request that was deferred. */
void storage_noted(struct request *request, int error);
/* Send a request that waited for its marks (changed.c), or end it with their error. */
void storage_marked(struct request *request, int error);
/* May wait while requests are held back. */
void storage_submit(struct request *request);
/* Hold new requests back until as many calls of `storage_go_on`; whether those under way have
 * ended in time. */
bool storage_hold(int milliseconds);
void storage_go_on(void);
int storage_flush(void);
int storage_grow(int64_t size);
void storage_let_go(const struct config *config, const struct held *held);
/* Requests that wait for room, or for a new server, and send them again or end them. */
int storage_waiting(void);
void storage_again(bool give_up);
/* Called, in any thread, when requests wait: for room, or else for a new connection. */
extern void (*storage_trouble)(bool full, const char *why);
extern int storage_patience;

/* -- unflushed.c -------------------------------------------------------------- */

/* At a restart what is noted is kept.  An errno, or 0. */
int unflushed_init(const struct config *config, bool first, int64_t size);
/* To be called once the bricks have it, and before a client is told. */
void unflushed_note(uint64_t offset, uint64_t length);
/* What is noted when a flush begins counts no more when that has succeeded.  Of flushes at
 * one time only the first does this: the others are given false, and have no end. */
bool unflushed_begin(void);
void unflushed_end(bool flushed);
/* Call `take` with the offset of each piece that is noted; stops at its first errno. */
int unflushed_each(int64_t size, int (*take)(int64_t offset));

/* -- changed.c ---------------------------------------------------------------- */

struct glfs;
/* Find the points of an image that was opened and locked.  An errno, or 0. */
int changed_open(struct glfs *volume, const struct config *config, bool first,
		 const struct held *held, uint64_t inode);
/* To be called before the image is unlocked: what was recorded is stored. */
void changed_close(void);
bool changed_has_points(void);
/* The points for which changes are recorded, in words. */
void changed_names(char *text, size_t size);
/* To be called, while requests are held back, before another server may have the image, and when
 * it has it no more.  An errno, or 0. */
int changed_share(void);
int changed_alone(void);
/* To be called before the image grows.  An errno, or 0. */
int changed_grow(int64_t size);
/* Whether a change of the image is sent later: by `storage_marked`. */
bool changed_defer(struct request *request);
/* Begin a point, or drop it.  An errno, or 0. */
int changed_change(const char *name, bool begins);

/* -- nbd.c -------------------------------------------------------------------- */

struct nbd_export {
	int64_t size;
	uint32_t block;          /* smallest request, a power of two */
	bool failing;            /* every request is answered with EIO */
};

void nbd_serve(int connection);
void nbd_set_export(const struct nbd_export *exported);
/* End all connections; what is under way on them is answered to nobody. */
void nbd_drop_all(void);
int nbd_clients(void);
/* The clients' process IDs, in words. */
void nbd_peers(char *text, size_t size);
bool nbd_is_peer(int pid);
/* Called, in any thread, when a client has said that it is done. */
extern void (*nbd_done)(int pid);

/* A detached thread with a small stack. */
bool start_thread(void *(*run)(void *), void *data);

/* -- main.c -------------------------------------------------------------------------- */

/* Answer one question of the control socket, in a thread of its own. */
void answer(const char *question, char *text, size_t size);

/* -- control.c ------------------------------------------------------------------------ */

void control_serve(int connection);

/* -- extents.c ------------------------------------------------------------------ */

struct extent {
	uint32_t length;
	bool hole;
};

void extents_init(const struct config *config);
/* What there is from `offset` on, in order; how many pieces.  Where nobody knows, data. */
int extents_of(uint64_t offset, uint32_t length, struct extent *found, int most);

#endif
