/* The NBD protocol: fixed newstyle, on connections of a unix socket.
 *
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md describes the layouts and the
 * numbers.  Each connection has a thread that reads its requests.  The threads of libgfapi write
 * the replies.  Invalid input only ends the connection that it came from.
 */
#include "server.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_CONNECTIONS 32
/* Bytes and requests in progress, of all connections and of one. */
#define MAX_BYTES (32u << 20)
#define MAX_REQUESTS 128
#define MAX_OPTIONS 64
#define MAX_OPTION_LENGTH 8192
#define MAX_EXTENTS 4096
/* Seconds for a handshake, and for a client to receive its replies. */
#define PATIENCE_SECONDS 10
#define STACK_BYTES (512 << 10)

#define NBDMAGIC 0x4e42444d41474943ull
#define IHAVEOPT 0x49484156454f5054ull
#define OPTION_REPLY_MAGIC 0x3e889045565a9ull
#define REQUEST_MAGIC 0x25609513u
#define SIMPLE_REPLY_MAGIC 0x67446698u
#define CHUNK_MAGIC 0x668e33efu

enum { FLAG_FIXED_NEWSTYLE = 1, FLAG_NO_ZEROES = 2 };
enum {
	OPTION_EXPORT_NAME = 1, OPTION_ABORT = 2, OPTION_LIST = 3, OPTION_INFO = 6, OPTION_GO = 7,
	OPTION_STRUCTURED_REPLY = 8, OPTION_LIST_META = 9, OPTION_SET_META = 10,
};
enum { REPLY_ACK = 1, REPLY_SERVER = 2, REPLY_INFO = 3, REPLY_META = 4 };
#define REPLY_UNSUPPORTED 0x80000001u
#define REPLY_INVALID 0x80000003u
enum { INFO_EXPORT = 0, INFO_BLOCK_SIZE = 3 };
enum {
	COMMAND_READ, COMMAND_WRITE, COMMAND_DISCONNECT, COMMAND_FLUSH, COMMAND_TRIM,
	COMMAND_CACHE, COMMAND_ZERO, COMMAND_STATUS,
};
enum { COMMAND_FUA = 1, COMMAND_NO_HOLE = 2, COMMAND_ONE = 8, COMMAND_FAST_ZERO = 16 };
enum { CHUNK_NONE = 0, CHUNK_DATA = 1, CHUNK_STATUS = 5, CHUNK_ERROR = 0x8001 };
#define CHUNK_DONE 1
#define STATE_HOLE_ZERO 3
#define META_ID 1
static const char META_NAME[] = "base:allocation";

/* has flags, flush, FUA, trim, zeroes, DF, several connections, fast zeroes */
#define TRANSMISSION_FLAGS (1 | 4 | 8 | 32 | 64 | 128 | 256 | 2048)

struct connection {
	int fd;
	pid_t peer;
	bool structured, status;
	bool done;               /* the client has said so */
	atomic_int uses;
	int requests;
	pthread_mutex_t lock;    /* of what is written, and of `requests` */
	pthread_cond_t fewer;
};

struct call {
	struct request request;  /* first: a request is its call */
	struct connection *connection;
	uint64_t cookie;
	uint16_t flags;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t less = PTHREAD_COND_INITIALIZER;
static struct connection *connections[MAX_CONNECTIONS];
static struct nbd_export exported;
static uint64_t bytes;

void (*nbd_done)(int pid);

/* -- connections ----------------------------------------------------------------- */

static void release(struct connection *connection)
{
	if (atomic_fetch_sub(&connection->uses, 1) != 1)
		return;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i] == connection)
			connections[i] = NULL;
	pthread_mutex_unlock(&lock);
	if (connection->done)
		nbd_done((int)connection->peer);
	close(connection->fd);
	free(connection);
}

static bool receive(struct connection *connection, void *target, size_t length)
{
	return recv(connection->fd, target, length, MSG_WAITALL) == (ssize_t)length;
}

/* Write everything; if this fails the connection is closed. */
static bool transmit(struct connection *connection, struct iovec *parts, int count)
{
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
	bool sent = true;

	pthread_mutex_lock(&connection->lock);
	while (message.msg_iovlen > 0) {
		ssize_t length = sendmsg(connection->fd, &message, MSG_NOSIGNAL);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0) {
			shutdown(connection->fd, SHUT_RDWR);
			sent = false;
			break;
		}
		while (message.msg_iovlen > 0 && (size_t)length >= message.msg_iov->iov_len) {
			length -= (ssize_t)message.msg_iov->iov_len;
			message.msg_iov++;
			message.msg_iovlen--;
		}
		if (message.msg_iovlen > 0) {
			message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + length;
			message.msg_iov->iov_len -= (size_t)length;
		}
	}
	pthread_mutex_unlock(&connection->lock);
	return sent;
}

static bool transmit_one(struct connection *connection, void *data, size_t length)
{
	struct iovec part = {data, length};

	return transmit(connection, &part, 1);
}

static struct nbd_export current(void)
{
	struct nbd_export found;

	pthread_mutex_lock(&lock);
	found = exported;
	pthread_mutex_unlock(&lock);
	return found;
}

/* -- the handshake ----------------------------------------------------------------- */

static bool option_reply(struct connection *connection, uint32_t option, uint32_t type,
			 const void *data, uint32_t length)
{
	struct {
		uint64_t magic;
		uint32_t option, type, length;
	} __attribute__((packed)) head = {htobe64(OPTION_REPLY_MAGIC), htobe32(option),
					  htobe32(type), htobe32(length)};
	struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)data, length}};

	return transmit(connection, parts, length ? 2 : 1);
}

/* Read a number from an option's data and advance; false if the data is too short. */
static bool take_u32(const char **data, const char *end, uint32_t *value)
{
	if (end - *data < (ptrdiff_t)sizeof(*value))
		return false;
	memcpy(value, *data, sizeof(*value));
	*value = be32toh(*value);
	*data += sizeof(*value);
	return true;
}

static bool take_text(const char **data, const char *end, const char **text, uint32_t *length)
{
	if (!take_u32(data, end, length) || (size_t)(end - *data) < *length)
		return false;
	*text = *data;
	*data += *length;
	return true;
}

/* Answer INFO and GO; every name refers to the one export. */
static bool tell_export(struct connection *connection, uint32_t option)
{
	struct nbd_export found = current();
	struct {
		uint16_t type;
		uint64_t size;
		uint16_t flags;
	} __attribute__((packed)) size = {htobe16(INFO_EXPORT), htobe64((uint64_t)found.size),
					  htobe16(TRANSMISSION_FLAGS)};
	struct {
		uint16_t type;
		uint32_t least, preferred, most;
	} __attribute__((packed)) block = {htobe16(INFO_BLOCK_SIZE), htobe32(found.block),
					   htobe32(4096), htobe32(MAX_DATA)};

	return option_reply(connection, option, REPLY_INFO, &size, sizeof(size)) &&
	       option_reply(connection, option, REPLY_INFO, &block, sizeof(block)) &&
	       option_reply(connection, option, REPLY_ACK, NULL, 0);
}

static bool tell_meta(struct connection *connection, uint32_t option, const char *data,
		      const char *end)
{
	struct {
		uint32_t id;
		char name[sizeof(META_NAME) - 1];
	} __attribute__((packed)) context = {htobe32(META_ID), ""};
	uint32_t length, count;
	const char *text;
	bool wanted;

	memcpy(context.name, META_NAME, sizeof(context.name));
	if (!take_text(&data, end, &text, &length) || !take_u32(&data, end, &count))
		return option_reply(connection, option, REPLY_INVALID, NULL, 0);
	wanted = option == OPTION_LIST_META && count == 0;
	while (count--) {
		if (!take_text(&data, end, &text, &length))
			return option_reply(connection, option, REPLY_INVALID, NULL, 0);
		wanted |= length == sizeof(context.name) && !memcmp(text, META_NAME, length);
		wanted |= option == OPTION_LIST_META && length == 5 && !memcmp(text, "base:", 5);
	}
	if (option == OPTION_SET_META) {
		if (!connection->structured)
			return option_reply(connection, option, REPLY_INVALID, NULL, 0);
		connection->status = wanted;
	}
	if (wanted && !option_reply(connection, option, REPLY_META, &context, sizeof(context)))
		return false;
	return option_reply(connection, option, REPLY_ACK, NULL, 0);
}

static bool tell_list(struct connection *connection, uint32_t option)
{
	uint32_t empty = 0;

	return option_reply(connection, option, REPLY_SERVER, &empty, sizeof(empty)) &&
	       option_reply(connection, option, REPLY_ACK, NULL, 0);
}

static bool is_good_go(const char *data, const char *end)
{
	const char *text;
	uint32_t length;
	uint16_t count;

	if (!take_text(&data, end, &text, &length) || end - data < (ptrdiff_t)sizeof(count))
		return false;
	memcpy(&count, data, sizeof(count));
	return end - data == (ptrdiff_t)(sizeof(count) + be16toh(count) * sizeof(uint16_t));
}

/* Whether requests follow. */
static bool shake_hands(struct connection *connection)
{
	struct {
		uint64_t magic, option;
		uint16_t flags;
	} __attribute__((packed)) hello = {htobe64(NBDMAGIC), htobe64(IHAVEOPT),
					   htobe16(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES)};
	struct {
		uint64_t magic;
		uint32_t option, length;
	} __attribute__((packed)) head;
	char data[MAX_OPTION_LENGTH];
	uint32_t client;

	if (!transmit_one(connection, &hello, sizeof(hello)) ||
	    !receive(connection, &client, sizeof(client)) ||
	    !(be32toh(client) & FLAG_FIXED_NEWSTYLE))
		return false;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		uint32_t option, length;
		bool going = true;

		if (!receive(connection, &head, sizeof(head)) || be64toh(head.magic) != IHAVEOPT)
			return false;
		option = be32toh(head.option);
		length = be32toh(head.length);
		if (length > sizeof(data) || (length && !receive(connection, data, length)))
			return false;
		switch (option) {
		case OPTION_EXPORT_NAME: {
			struct nbd_export found = current();
			struct {
				uint64_t size;
				uint16_t flags;
				char zeroes[124];
			} __attribute__((packed)) answer = {htobe64((uint64_t)found.size),
							    htobe16(TRANSMISSION_FLAGS), ""};

			return transmit_one(connection, &answer,
					    be32toh(client) & FLAG_NO_ZEROES
						    ? sizeof(answer) - sizeof(answer.zeroes)
						    : sizeof(answer));
		}
		case OPTION_ABORT:
			option_reply(connection, option, REPLY_ACK, NULL, 0);
			return false;
		case OPTION_LIST:
			going = tell_list(connection, option);
			break;
		case OPTION_INFO:
		case OPTION_GO:
			if (!is_good_go(data, data + length)) {
				going = option_reply(connection, option, REPLY_INVALID, NULL, 0);
				break;
			}
			going = tell_export(connection, option);
			if (going && option == OPTION_GO)
				return true;
			break;
		case OPTION_STRUCTURED_REPLY:
			connection->structured = true;
			going = option_reply(connection, option, REPLY_ACK, NULL, 0);
			break;
		case OPTION_LIST_META:
		case OPTION_SET_META:
			going = tell_meta(connection, option, data, data + length);
			break;
		default:
			going = option_reply(connection, option, REPLY_UNSUPPORTED, NULL, 0);
		}
		if (!going)
			return false;
	}
	return false;
}

/* -- replies ------------------------------------------------------------------------ */

static uint32_t nbd_error(int error)
{
	switch (error) {
	case 0:
	case EPERM:
	case EIO:
	case ENOMEM:
	case EINVAL:
	case ENOSPC:
		return (uint32_t)error;
	case EDQUOT:
	case EFBIG:
		return ENOSPC;
	case EOPNOTSUPP:
		return EOPNOTSUPP;
	default:
		return EIO;
	}
}

struct chunk {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie;
	uint32_t length;
} __attribute__((packed));

static void reply_chunk(struct call *call, uint16_t type, void *head, size_t head_length,
			void *data, size_t length)
{
	struct chunk chunk = {htobe32(CHUNK_MAGIC), htobe16(CHUNK_DONE), htobe16(type),
			      call->cookie, htobe32((uint32_t)(head_length + length))};
	struct iovec parts[3] = {{&chunk, sizeof(chunk)}, {head, head_length}, {data, length}};

	transmit(call->connection, parts, 3);
}

static void reply(struct call *call, int error)
{
	bool is_read = call->request.kind == READ;

	if (call->connection->structured && error) {
		struct {
			uint32_t error;
			uint16_t length;
		} __attribute__((packed)) body = {htobe32(nbd_error(error)), 0};

		reply_chunk(call, CHUNK_ERROR, &body, sizeof(body), NULL, 0);
	} else if (call->connection->structured && is_read) {
		uint64_t offset = htobe64(call->request.offset);

		reply_chunk(call, CHUNK_DATA, &offset, sizeof(offset), call->request.data,
			    call->request.length);
	} else {
		struct {
			uint32_t magic, error;
			uint64_t cookie;
		} __attribute__((packed)) head = {htobe32(SIMPLE_REPLY_MAGIC),
						  htobe32(nbd_error(error)), call->cookie};
		struct iovec parts[2] = {{&head, sizeof(head)},
					 {call->request.data, call->request.length}};

		transmit(call->connection, parts, is_read && !error ? 2 : 1);
	}
}

static void give_back(uint32_t size)
{
	pthread_mutex_lock(&lock);
	bytes -= size;
	pthread_cond_broadcast(&less);
	pthread_mutex_unlock(&lock);
}

static void end_call(struct call *call)
{
	struct connection *connection = call->connection;
	uint32_t size = call->request.data ? call->request.length : 0;

	free(call->request.data);
	free(call);
	if (size)
		give_back(size);
	pthread_mutex_lock(&connection->lock);
	if (connection->requests-- == MAX_REQUESTS)
		pthread_cond_signal(&connection->fewer);
	pthread_mutex_unlock(&connection->lock);
	release(connection);
}

static void on_done(struct request *request, int error)
{
	struct call *call = (struct call *)request;

	reply(call, error);
	end_call(call);
}

/* -- requests ------------------------------------------------------------------------- */

static void *tell_status(void *data)
{
	struct call *call = data;
	struct extent *found = calloc(MAX_EXTENTS, sizeof(*found));
	struct {
		uint32_t length, flags;
	} __attribute__((packed)) *words = calloc(MAX_EXTENTS, sizeof(*words));
	uint32_t id = htobe32(META_ID);
	int count = 0;

	if (found && words) {
		count = extents_of(call->request.offset, call->request.length, found,
				   call->flags & COMMAND_ONE ? 1 : MAX_EXTENTS);
		for (int i = 0; i < count; i++) {
			words[i].length = htobe32(found[i].length);
			words[i].flags = htobe32(found[i].hole ? STATE_HOLE_ZERO : 0);
		}
	}
	if (count > 0)
		reply_chunk(call, CHUNK_STATUS, &id, sizeof(id), words,
			    (size_t)count * sizeof(*words));
	else
		reply(call, ENOMEM);
	free(found);
	free(words);
	end_call(call);
	return NULL;
}

bool start_thread(void *(*run)(void *), void *data)
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	started = pthread_create(&thread, &attributes, run, data) == 0;
	pthread_attr_destroy(&attributes);
	return started;
}

/* Memory for the data of a request, once other requests have released theirs. */
static char *get_data(uint32_t length)
{
	char *data;

	pthread_mutex_lock(&lock);
	while (bytes > 0 && bytes + length > MAX_BYTES)
		pthread_cond_wait(&less, &lock);
	bytes += length;
	pthread_mutex_unlock(&lock);
	data = malloc(length);
	if (!data)
		give_back(length);
	return data;
}

static struct call *new_call(struct connection *connection)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	pthread_mutex_lock(&connection->lock);
	while (connection->requests >= MAX_REQUESTS)
		pthread_cond_wait(&connection->fewer, &connection->lock);
	connection->requests++;
	pthread_mutex_unlock(&connection->lock);
	atomic_fetch_add(&connection->uses, 1);
	call->connection = connection;
	call->request.done = on_done;
	return call;
}

/* Check a request that has its data; returns an errno, or 0. */
static int check(const struct call *call, uint16_t command, const struct nbd_export *found)
{
	uint64_t offset = call->request.offset, length = call->request.length;
	uint64_t size = (uint64_t)found->size;

	if (found->failing)
		return EIO;
	if (command == COMMAND_FLUSH)
		return 0;
	if (length == 0 || offset > size || length > size - offset)
		return command == COMMAND_WRITE || command == COMMAND_ZERO ? ENOSPC : EINVAL;
	if (command <= COMMAND_WRITE && (offset | length) & (found->block - 1))
		return EINVAL;
	if (command == COMMAND_READ && length > MAX_DATA)
		return EINVAL;
	if (command == COMMAND_STATUS && !call->connection->status)
		return EINVAL;
	return 0;
}

/* Whether the connection continues. */
static bool serve_one(struct connection *connection)
{
	struct {
		uint32_t magic;
		uint16_t flags, command;
		uint64_t cookie, offset;
		uint32_t length;
	} __attribute__((packed)) head;
	struct nbd_export found;
	struct call *call;
	uint16_t command, flags;
	int error;

	if (!receive(connection, &head, sizeof(head)) || be32toh(head.magic) != REQUEST_MAGIC)
		return false;
	command = be16toh(head.command);
	if (command == COMMAND_DISCONNECT) {
		connection->done = true;
		return false;
	}
	call = new_call(connection);
	if (!call)
		return false;
	flags = be16toh(head.flags);
	call->cookie = head.cookie;
	call->flags = flags;
	call->request.fua = flags & COMMAND_FUA;
	call->request.offset = be64toh(head.offset);
	call->request.length = be32toh(head.length);
	call->request.kind = KINDS;
	if (command == COMMAND_WRITE) {
		call->request.kind = WRITE;
		if (call->request.length == 0 || call->request.length > MAX_DATA ||
		    !(call->request.data = get_data(call->request.length)) ||
		    !receive(connection, call->request.data, call->request.length)) {
			end_call(call);
			return false;
		}
	}
	found = current();
	error = check(call, command, &found);
	switch (command) {
	case COMMAND_READ:
		call->request.kind = READ;
		call->request.fua = false;
		if (!error && !(call->request.data = get_data(call->request.length)))
			error = ENOMEM;
		break;
	case COMMAND_WRITE:
		break;
	case COMMAND_FLUSH:
		call->request.kind = FLUSH;
		call->request.fua = false;
		break;
	case COMMAND_TRIM:
		call->request.kind = TRIM;
		break;
	case COMMAND_ZERO:
		call->request.kind = ZERO;
		call->request.keep = flags & COMMAND_NO_HOLE;
		call->request.fast = flags & COMMAND_FAST_ZERO;
		/* Zeroes that keep their blocks may have to be written. */
		if (!error && call->request.keep && flags & COMMAND_FAST_ZERO)
			error = EOPNOTSUPP;
		break;
	case COMMAND_STATUS:
		if (!error && start_thread(tell_status, call))
			return true;
		error = error ? error : ENOMEM;
		break;
	default:
		error = EINVAL;
	}
	if (error) {
		reply(call, error);
		end_call(call);
	} else {
		storage_submit(&call->request);
	}
	return true;
}

static void *serve(void *data)
{
	struct connection *connection = data;
	struct timeval forever = {0, 0};

	if (shake_hands(connection)) {
		setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
		while (serve_one(connection))
			;
	}
	shutdown(connection->fd, SHUT_RDWR);
	release(connection);
	return NULL;
}

void nbd_serve(int fd)
{
	struct timeval limit = {PATIENCE_SECONDS, 0};
	struct connection *connection = calloc(1, sizeof(*connection));
	struct ucred peer = {0};
	socklen_t length = sizeof(peer);
	bool kept = false;

	if (!connection) {
		close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
	connection->fd = fd;
	connection->peer = peer.pid;
	atomic_init(&connection->uses, 1);
	pthread_mutex_init(&connection->lock, NULL);
	pthread_cond_init(&connection->fewer, NULL);
	pthread_mutex_lock(&lock);
	for (int i = 0; i < MAX_CONNECTIONS && !kept; i++)
		if (!connections[i]) {
			connections[i] = connection;
			kept = true;
		}
	pthread_mutex_unlock(&lock);
	if (!kept || !start_thread(serve, connection))
		release(connection);
}

void nbd_set_export(const struct nbd_export *wanted)
{
	pthread_mutex_lock(&lock);
	exported = *wanted;
	exported.size -= exported.size % exported.block;
	pthread_mutex_unlock(&lock);
}

void nbd_drop_all(void)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i])
			shutdown(connections[i]->fd, SHUT_RDWR);
	pthread_mutex_unlock(&lock);
}

int nbd_clients(void)
{
	int count = 0;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		count += connections[i] != NULL;
	pthread_mutex_unlock(&lock);
	return count;
}

bool nbd_is_peer(int pid)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		found |= connections[i] && connections[i]->peer == pid;
	pthread_mutex_unlock(&lock);
	return found;
}

void nbd_peers(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	pthread_mutex_lock(&lock);
	for (int i = 0; i < MAX_CONNECTIONS && used < size; i++)
		if (connections[i])
			used += (size_t)snprintf(text + used, size - used, "%s%d", used ? " " : "",
						 (int)connections[i]->peer);
	pthread_mutex_unlock(&lock);
}
