/* Refuse new connections to bricks while the lock is held.
 *
 * A lock belongs to a connection, and the bricks drop it with the connection.  GlusterFS's client
 * reconnects by itself.  What it then writes beyond the first shard of an image is accepted, even
 * with client.strict-locks, because shards are written through file descriptors without a lock
 * (seen with GlusterFS 11.1: all bricks stored the old writer's data).  So once this process has
 * its lock, it makes no more connections to bricks: the executable contains a function `connect`,
 * which GlusterFS's libraries call.  When a brick is back, the server replaces itself (execve) and
 * locks again before it serves.
 *
 * Connections to glusterd are recognized by the port and allowed: they carry no data.
 *
 * The same function leads GlusterFS's client back to glusterd if it would try one port of a brick
 * forever.  Release 11 forgets the port that glusterd had named only after a successful connection
 * (rpc_clnt_notify), and does not ask again if the brick has another port by then, for example
 * because it was started twice.  Every second attempt in a row goes to glusterd instead, which
 * names the current port.
 */
#include "server.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GLUSTERD_PORT 24007
#define MANAGEMENT_PORTS (MAX_SERVERS + 1)
/* Seconds for a host to answer: the kernel would try for minutes, while others wait. */
#define CONNECT_SECONDS 2.0
#define MAX_ATTEMPTS 64
#define MAX_BRICKS 1024
#define PROBE_MILLISECONDS 1000
#define MAX_TRIED 64

static int management[MANAGEMENT_PORTS] = {GLUSTERD_PORT};
static int management_count = 1;
static atomic_bool sealed;
/* The socket that checks whether a brick is back; it carries no data. */
static atomic_int probe = -1;
static void (*on_denied)(void);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	int fd;                  /* a copy */
	double until;
} attempts[MAX_ATTEMPTS];
static int attempt_count;
static struct {
	struct sockaddr_storage address;
	int fd;                  /* of the latest attempt */
} bricks[MAX_BRICKS];
static int brick_count;
static struct sockaddr_storage refused;
static socklen_t refused_length;

/* The last attempts that went to a brick, or were refused; the next goes to glusterd. */
static struct sockaddr_storage tried[MAX_TRIED];
static int tried_next;
static atomic_bool asks_again;

static int really_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	static int (*libc_connect)(int, const struct sockaddr *, socklen_t);

	if (!libc_connect)
		*(void **)&libc_connect = dlsym(RTLD_NEXT, "connect");
	return libc_connect(fd, address, length);
}

/* The port of an internet address, -1 for another. */
static int port_of(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)address)->sin_port);
	if (address->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
	return -1;
}

static bool is_management(int port)
{
	for (int i = 0; i < management_count; i++)
		if (management[i] == port)
			return true;
	return false;
}

static void watch(int fd)
{
	pthread_mutex_lock(&lock);
	if (attempt_count < MAX_ATTEMPTS) {
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

		if (copy >= 0) {
			attempts[attempt_count].fd = copy;
			attempts[attempt_count++].until = state_now() + CONNECT_SECONDS;
		}
	}
	pthread_mutex_unlock(&lock);
}

static bool is_same(const struct sockaddr_storage *one, const struct sockaddr_storage *other)
{
	const struct sockaddr_in *one4 = (const void *)one, *other4 = (const void *)other;
	const struct sockaddr_in6 *one6 = (const void *)one, *other6 = (const void *)other;

	if (one->ss_family != other->ss_family ||
	    port_of((const void *)one) != port_of((const void *)other))
		return false;
	if (one->ss_family == AF_INET)
		return one4->sin_addr.s_addr == other4->sin_addr.s_addr;
	return !memcmp(&one6->sin6_addr, &other6->sin6_addr, sizeof(one6->sin6_addr));
}

static void remember(int fd, const struct sockaddr *address, socklen_t length)
{
	struct sockaddr_storage brick = {0};
	int index = 0;

	memcpy(&brick, address, length);
	pthread_mutex_lock(&lock);
	while (index < brick_count && !is_same(&bricks[index].address, &brick))
		index++;
	if (index < MAX_BRICKS) {
		bricks[index].address = brick;
		bricks[index].fd = fd;
		if (index == brick_count)
			brick_count++;
	}
	pthread_mutex_unlock(&lock);
}

/* Whether the last attempt to connect to this brick went to the brick. */
static bool was_tried(const struct sockaddr *address, socklen_t length)
{
	struct sockaddr_storage brick = {0};
	bool found = false;

	memcpy(&brick, address, length);
	pthread_mutex_lock(&lock);
	for (int i = 0; i < MAX_TRIED && !found; i++) {
		found = is_same(&tried[i], &brick);
		if (found)
			memset(&tried[i], 0, sizeof(tried[i]));
	}
	if (!found) {
		tried[tried_next] = brick;
		tried_next = (tried_next + 1) % MAX_TRIED;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

/* Connect to the glusterd of a brick's host. */
static int ask_glusterd(int fd, const struct sockaddr *brick, socklen_t length)
{
	struct sockaddr_storage address = {0};

	memcpy(&address, brick, length);
	if (address.ss_family == AF_INET)
		((struct sockaddr_in *)&address)->sin_port = htons(GLUSTERD_PORT);
	else
		((struct sockaddr_in6 *)&address)->sin6_port = htons(GLUSTERD_PORT);
	return really_connect(fd, (const struct sockaddr *)&address, length);
}

__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *address,
						   socklen_t length)
{
	int port = port_of(address), result, error;

	if (port < 0)
		return really_connect(fd, address, length);
	if (!is_management(port) && atomic_load(&asks_again) && was_tried(address, length)) {
		result = ask_glusterd(fd, address, length);
	} else if (atomic_load(&sealed) && !is_management(port)) {
		pthread_mutex_lock(&lock);
		memcpy(&refused, address, length);
		refused_length = length;
		pthread_mutex_unlock(&lock);
		on_denied();
		errno = ECONNREFUSED;
		return -1;
	} else {
		if (!is_management(port))
			remember(fd, address, length);
		result = really_connect(fd, address, length);
	}
	error = errno;
	if (result < 0 && error == EINPROGRESS && !atomic_load(&sealed))
		watch(fd);
	errno = error;
	return result;
}

void fence_give_up_slow(void)
{
	double now = state_now();
	struct tcp_info info;
	socklen_t length;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < attempt_count; i++) {
		length = sizeof(info);
		if (getsockopt(attempts[i].fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
		    info.tcpi_state == TCP_SYN_SENT) {
			if (now < attempts[i].until)
				continue;
			shutdown(attempts[i].fd, SHUT_RDWR);
		}
		close(attempts[i].fd);
		attempts[i--] = attempts[--attempt_count];
	}
	pthread_mutex_unlock(&lock);
}

void fence_allow_port(int port)
{
	if (!is_management(port) && management_count < MANAGEMENT_PORTS)
		management[management_count++] = port;
}

void fence_ask_again(bool asks)
{
	atomic_store(&asks_again, asks);
}

void fence_watch(void (*denied)(void))
{
	on_denied = denied;
}

void fence_seal(void)
{
	atomic_store(&sealed, true);
}

bool fence_brick_is_back(void)
{
	struct sockaddr_storage address;
	socklen_t length, size = sizeof(int);
	struct pollfd waiting;
	int error = 0;

	pthread_mutex_lock(&lock);
	address = refused;
	length = refused_length;
	pthread_mutex_unlock(&lock);
	if (!length)
		return false;
	waiting.fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	waiting.events = POLLOUT;
	if (waiting.fd < 0)
		return false;
	atomic_store(&probe, waiting.fd);
	if (really_connect(waiting.fd, (struct sockaddr *)&address, length) < 0) {
		error = errno;
		if (error == EINPROGRESS && poll(&waiting, 1, PROBE_MILLISECONDS) == 1 &&
		    getsockopt(waiting.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			error = errno;
	}
	close(waiting.fd);
	atomic_store(&probe, -1);
	return error == 0;
}

int fence_bricks_connected(void)
{
	struct sockaddr_storage peer;
	int count = 0;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < brick_count; i++) {
		socklen_t length = sizeof(peer);

		/* Its descriptor may have become another's. */
		if (bricks[i].fd != atomic_load(&probe) &&
		    getpeername(bricks[i].fd, (struct sockaddr *)&peer, &length) == 0 &&
		    is_same(&peer, &bricks[i].address))
			count++;
	}
	pthread_mutex_unlock(&lock);
	return count;
}
