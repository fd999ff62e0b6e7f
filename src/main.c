/* image-server KEY: serve an open image of a Gluster volume, by NBD on a unix socket.
 *
 * The server opens and locks the image, reports that it is ready, and serves.  If the storage fails
 * and may come back, a brick is back, or the package was upgraded, the process replaces itself by
 * execve and keeps its listening sockets.  The clients reconnect and repeat the requests that were
 * not answered.  If the process dies, systemd keeps the sockets and starts it again.  A server that
 * finds that another node has had its image never serves it again, and kills its QEMU.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif
#ifndef VERSION
#define VERSION "?"
#endif

static const char help[] =
	"Usage: %s KEY\n"
	"\n"
	"Serve an open image of a Gluster volume by NBD, as /run/ganeti-gluster/images/KEY.conf says.\n"
	"Ganeti's node daemon starts it as ganeti-gluster-image@KEY.service; see gnt-gluster(8).\n"
	"\n"
	"  --help     show this text\n"
	"  --version  show the version\n";

/* Exit statuses after which systemd does not restart the server. */
#define EXIT_FAILED 74
#define EXIT_HELD 75

#define RENEWED_VARIABLE "GANETI_GLUSTER_RENEWED"
#define TICK_MILLISECONDS 1000
/* Reconnect to bricks that are back at most this often, in seconds. */
#define RENEW_SECONDS 10.0
/* Milliseconds for requests in progress: before a brick is used again, when the storage has
 * failed (a frozen brick answers late), and when the server ends. */
#define SHORT_HOLD 500
#define LONG_HOLD 25000
#define END_HOLD 5000
/* Seconds until requests are sent to a full volume again. */
#define AGAIN_SECONDS 0.9
/* Seconds without a refusal after which a full volume has space again. */
#define ROOM_SECONDS 2.5
/* Seconds for a server to open its image again before a request is refused. */
#define OPENING_SECONDS 20.0
/* Seconds for a client to disconnect before its image is closed. */
#define CLIENT_SECONDS 5.0

enum state { OPENING, SERVING, IS_LOST };
enum { NBD_SOCKET, CONTROL_SOCKET, SOCKETS };

static struct config config;
static struct held held;
static bool first;
static double started;
static double renewed;
static char *program;

/* This lock protects everything below. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t operation = PTHREAD_MUTEX_INITIALIZER;
static enum state state = OPENING;
static enum outcome outcome;
static struct reason reason;
static double full_since, full_last, sent_again;
static char trouble[TEXT_LENGTH];
static bool is_opened, is_trouble, is_denied, leaving;

static int sockets[SOCKETS] = {-1, -1};
static const char *const socket_names[SOCKETS] = {"nbd", "ctl"};
static const int socket_types[SOCKETS] = {SOCK_STREAM, SOCK_SEQPACKET};
static int wake = -1;

static void wake_up(void)
{
	uint64_t one = 1;

	if (write(wake, &one, sizeof(one)) < 0)
		abort(); /* this only fails if the counter overflows */
}

/* -- clients ----------------------------------------------------------------------------- */

/* When a living process started, in the kernel's clock; 0 if there is no such process. */
static unsigned long long start_of(int pid)
{
	char path[32], text[1024], *field;
	unsigned long long start = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	/* The 22nd field; the second is a name in parentheses, the third Z of a dead one. */
	if (fgets(text, sizeof(text), file) && (field = strrchr(text, ')')) &&
	    strncmp(field, ") Z", 3)) {
		for (int i = 2; i < 22 && field; i++)
			field = strchr(field + 1, ' ');
		if (field)
			start = strtoull(field, NULL, 10);
	}
	fclose(file);
	return start;
}

/* The guest was started elsewhere: its QEMU here would only wait, or get errors. */
static void end_qemu(int pid)
{
	char path[32], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = pid > 1 ? fopen(path, "re") : NULL;
	if (!file)
		return;
	if (fgets(name, sizeof(name), file) && !strncmp(name, "qemu-system", 11)) {
		name[strcspn(name, "\n")] = '\0';
		say("killing process %d (%s)", pid, name);
		kill(pid, SIGKILL);
	}
	fclose(file);
}

/* Call `take` with each living process that has been a client and has not disconnected properly;
 * returns how many there are. */
static int each_client(void (*take)(int pid))
{
	const char *next = held.clients;
	char *end;
	int count = 0;

	while (*next) {
		int pid = (int)strtol(next, &end, 10);
		unsigned long long start = *end == '/' ? strtoull(end + 1, NULL, 10) : 0;

		if (start && start == start_of(pid)) {
			count++;
			if (take)
				take(pid);
		}
		next += strcspn(next, " ");
		next += strspn(next, " ");
	}
	return count;
}

/* Whether anyone uses the image.  QEMU connects again only with its guest's next request, so a
 * connection is not needed for that. */
static bool has_clients(void)
{
	bool found;

	pthread_mutex_lock(&lock);
	found = nbd_clients() > 0 || each_client(NULL) > 0;
	pthread_mutex_unlock(&lock);
	return found;
}

/* Add or remove a client, also for the time after a restart.  Call it with the lock. */
static void set_client(int pid, bool is_client)
{
	char changed[TEXT_LENGTH] = "";
	const char *next = held.clients;
	size_t used = 0, length;

	if (is_client)
		used = (size_t)snprintf(changed, sizeof(changed), "%d/%llu", pid, start_of(pid));
	for (; *next; next += length, next += strspn(next, " ")) {
		int known = (int)strtol(next, NULL, 10);
		const char *start = strchr(next, '/');

		length = strcspn(next, " ");
		/* Processes that have ended would use up the space. */
		if (known == pid || !start || used + length + 2 > sizeof(changed) ||
		    strtoull(start + 1, NULL, 10) != start_of(known))
			continue;
		used += (size_t)snprintf(changed + used, sizeof(changed) - used, "%s%.*s",
					 used ? " " : "", (int)length, next);
	}
	if (!strcmp(changed, held.clients))
		return;
	memcpy(held.clients, changed, sizeof(held.clients));
	state_write_held(&config, &held);
}

static void note_client(int pid)
{
	pthread_mutex_lock(&lock);
	set_client(pid, true);
	pthread_mutex_unlock(&lock);
}

/* It has disconnected properly; it may live on, like a QEMU from which a disk was removed. */
static void on_done(int pid)
{
	pthread_mutex_lock(&lock);
	if (!nbd_is_peer(pid))
		set_client(pid, false);
	pthread_mutex_unlock(&lock);
}

/* -- sockets ------------------------------------------------------------------------ */

static int bind_socket(int which)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = state_path(&config, socket_names[which]);
	int fd = socket(AF_UNIX, socket_types[which] | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    (which == NBD_SOCKET && chown(path, held.owner, (gid_t)-1) < 0) ||
	    listen(fd, 64) < 0) {
		say("cannot listen on %s: %s", path, strerror(errno));
		return -1;
	}
	return fd;
}

/* Use the sockets of the previous process, or create them and store them in systemd. */
static int get_sockets(void)
{
	char **names = NULL, message[64];
	int count = sd_listen_fds_with_names(1, &names);

	for (int i = 0; i < count; i++)
		for (int which = 0; which < SOCKETS; which++)
			if (!strcmp(names[i], socket_names[which]))
				sockets[which] = SD_LISTEN_FDS_START + i;
	umask(0177);
	for (int which = 0; which < SOCKETS; which++) {
		/* Nobody can connect to a socket whose name is gone. */
		if (sockets[which] >= 0 && access(state_path(&config, socket_names[which]), F_OK)) {
			close(sockets[which]);
			sockets[which] = -1;
			snprintf(message, sizeof(message), "FDSTOREREMOVE=1\nFDNAME=%s",
				 socket_names[which]);
			sd_notify(0, message);
		}
		if (sockets[which] >= 0) {
			fcntl(sockets[which], F_SETFD, FD_CLOEXEC);
			continue;
		}
		sockets[which] = bind_socket(which);
		if (sockets[which] < 0)
			return -1;
		snprintf(message, sizeof(message), "FDSTORE=1\nFDNAME=%s", socket_names[which]);
		sd_pid_notify_with_fds(0, 0, message, &sockets[which], 1);
	}
	return 0;
}

/* Replace this process by the program that is installed now. */
static void replace(void)
{
	char number[32], names[32];
	char *const argv[] = {program, config.key, NULL};
	int high[SOCKETS];

	for (int which = 0; which < SOCKETS; which++)
		high[which] = fcntl(sockets[which], F_DUPFD_CLOEXEC, 1000);
	for (int which = 0; which < SOCKETS; which++)
		dup2(high[which], SD_LISTEN_FDS_START + which);
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%d", SOCKETS);
	setenv("LISTEN_FDS", number, 1);
	snprintf(names, sizeof(names), "%s:%s", socket_names[0], socket_names[1]);
	setenv("LISTEN_FDNAMES", names, 1);
	snprintf(number, sizeof(number), "%.3f", state_now());
	setenv(RENEWED_VARIABLE, number, 1);
	syscall(SYS_close_range, SD_LISTEN_FDS_START + SOCKETS, ~0U, CLOSE_RANGE_CLOEXEC);
	execv(program, argv);
	_exit(1); /* systemd starts us again */
}

/* -- calls from other threads ----------------------------------------------------------- */

static void on_denied(void)
{
	pthread_mutex_lock(&lock);
	is_denied = true;
	pthread_mutex_unlock(&lock);
	wake_up();
}

static void on_trouble(bool full, const char *why)
{
	pthread_mutex_lock(&lock);
	if (full) {
		full_last = state_now();
		if (!full_since)
			full_since = full_last;
	} else if (!is_trouble) {
		is_trouble = true;
	}
	snprintf(trouble, sizeof(trouble), "%s", why);
	pthread_mutex_unlock(&lock);
	wake_up();
}

static void *open_image(void *data)
{
	struct held found = held;
	struct reason why;
	enum outcome result;

	(void)data;
	result = storage_open(&config, &found, first, &why);
	pthread_mutex_lock(&lock);
	outcome = result;
	reason = why;
	if (result == OPENED) {
		found.waiting = 0;
		found.why[0] = '\0';
		memcpy(found.clients, held.clients, sizeof(found.clients)); /* added in the meantime */
		held = found;
	}
	is_opened = true;
	pthread_mutex_unlock(&lock);
	wake_up();
	return NULL;
}

/* -- the control socket ------------------------------------------------------------------ */

static void tell_status(char *text, size_t size)
{
	static const char *const names[] = {"waiting", "serving", "lost"};
	char peers[512], points[1024];
	bool waiting;

	nbd_peers(peers, sizeof(peers));
	changed_names(points, sizeof(points));
	pthread_mutex_lock(&lock);
	waiting = state == SERVING && full_since;
	snprintf(text, size,
		 "state=%s\nmode=%s\nsize=%lld\nblock=%u\nclients=%d\nusers=%d\npeers=%s\nwaiting=%.3f\n"
		 "why=%s\nfull=%d\nrequests=%d\nbricks=%d\nconnected=%d\nstarted=%.3f\n"
		 "version=%s\npoints=%s\n",
		 waiting ? "waiting" : names[state],
		 !config.locking ? "none" : held.shared ? "shared" : "exclusive",
		 (long long)held.size, held.block, nbd_clients(), each_client(NULL), peers,
		 waiting ? full_since : held.waiting, waiting ? trouble : held.why,
		 waiting, storage_waiting(), storage_bricks(), fence_bricks_connected(), started, VERSION,
		 points);
	pthread_mutex_unlock(&lock);
}

/* Only where there are points does a change of the mode have guests wait. */
static int changed_mode(int (*change)(void))
{
	int error;

	if (!changed_has_points())
		return 0;
	error = storage_hold(LONG_HOLD) ? change() : ETIMEDOUT;
	storage_go_on();
	return error;
}

static void change_mode(bool shared, char *text, size_t size)
{
	struct held changed = held;
	struct reason why;
	enum outcome result;
	int error = shared ? changed_mode(changed_share) : 0;

	if (error) {
		snprintf(text, size, "error=cannot record changes for backups: %s\n", strerror(error));
		return;
	}
	result = storage_set_mode(&config, &changed, shared, &why);
	if ((result == OPENED) != shared) {
		error = changed_mode(changed_alone);
		if (error)
			on_trouble(false, "cannot read what the other server has recorded");
	}
	if (result == OPENED) {
		pthread_mutex_lock(&lock);
		held.shared = changed.shared;
		pthread_mutex_unlock(&lock);
		state_write_held(&config, &held);
		snprintf(text, size, "ok\n");
	} else if (result == HELD) {
		snprintf(text, size, "held=%d %s\n", why.number,
			 why.shared ? "shared" : "exclusive");
	} else {
		snprintf(text, size, "error=%s\n", why.text);
	}
}

static void grow(int64_t wanted, char *text, size_t size)
{
	int error = 0;

	if (wanted < held.size) {
		snprintf(text, size, "error=the image has %lld bytes and cannot be made smaller\n",
			 (long long)held.size);
		return;
	}
	if (!storage_hold(LONG_HOLD)) {
		storage_go_on();
		snprintf(text, size, "error=the bricks do not answer\n");
		return;
	}
	if (wanted > held.size)
		error = changed_grow(wanted);
	if (!error && wanted > held.size)
		error = storage_grow(wanted);
	if (!error) {
		struct nbd_export exported = {wanted, held.block, false};

		pthread_mutex_lock(&lock);
		held.size = wanted;
		pthread_mutex_unlock(&lock);
		state_write_held(&config, &held);
		nbd_set_export(&exported);
		nbd_drop_all(); /* clients learn the size when they connect */
	}
	storage_go_on();
	if (error)
		snprintf(text, size, "error=%s\n", strerror(error));
	else
		snprintf(text, size, "ok\n");
}

/* Let another user's QEMU connect; it runs as root only until it has opened its devices. */
static void change_owner(unsigned long owner, char *text, size_t size)
{
	if (chown(state_path(&config, socket_names[NBD_SOCKET]), (uid_t)owner, (gid_t)-1) < 0) {
		snprintf(text, size, "error=%s\n", strerror(errno));
		return;
	}
	pthread_mutex_lock(&lock);
	held.owner = (uid_t)owner;
	pthread_mutex_unlock(&lock);
	state_write_held(&config, &held);
	snprintf(text, size, "ok\n");
}

static void change_point(const char *name, bool begins, char *text, size_t size)
{
	int error = changed_change(name, begins);

	if (error == EBUSY)
		snprintf(text, size, "error=the image is being migrated, or is not locked\n");
	else if (error == EFBIG)
		snprintf(text, size, "error=the image is larger than 64 TiB\n");
	else if (error)
		snprintf(text, size, "error=%s\n", strerror(error));
	else
		snprintf(text, size, "ok\n");
}

/* Close the image and end.  The connections are not shut down properly: a remaining client
 * assumes that the server died, and tries to connect. */
static void end(void)
{
	if (state == SERVING) {
		storage_hold(END_HOLD);
		int error = storage_flush();

		if (error)
			say("cannot flush the image: %s", strerror(error));
		changed_close();
		storage_let_go(&config, &held);
	}
	pthread_mutex_lock(&lock); /* no more writes from now on */
	for (int which = 0; which < SOCKETS; which++)
		unlink(state_path(&config, socket_names[which]));
	unlink(state_path(&config, "unflushed"));
	unlink(state_path(&config, "held"));
	_exit(0);
}

/* systemd stops the server, perhaps to restart it, as needrestart and administrators do.  The
 * clients then continue as after its death; nothing is closed or unlocked. */
static void leave_for_another(void)
{
	if (state == SERVING) {
		if (!has_clients())
			end();
		storage_hold(END_HOLD);
		storage_flush();
	} else if (first || state == IS_LOST) {
		end();
	}
	_exit(0);
}

static void close_image(bool force, char *text, size_t size)
{
	double until = state_now() + CLIENT_SECONDS;
	struct timespec tick = {0, 50000000};
	char peers[512];

	while (!force && state == SERVING && nbd_clients() > 0) {
		if (state_now() > until) {
			nbd_peers(peers, sizeof(peers));
			snprintf(text, size, "busy=%s\n", peers);
			return;
		}
		nanosleep(&tick, NULL);
	}
	end(); /* the end of the connection is the answer */
}

/* A server that was just restarted gets the same request again. */
static bool wait_until_serving(void)
{
	double until = state_now() + OPENING_SECONDS;
	struct timespec tick = {0, 20000000};
	enum state now;

	for (;;) {
		pthread_mutex_lock(&lock);
		now = state;
		pthread_mutex_unlock(&lock);
		if (now != OPENING || state_now() > until)
			return now == SERVING;
		nanosleep(&tick, NULL);
	}
}

void answer(const char *question, char *text, size_t size)
{
	bool serving;

	if (!strcmp(question, "status")) {
		tell_status(text, size);
		return;
	}
	pthread_mutex_lock(&operation);
	/* A close does not wait for storage that is unavailable. */
	serving = strcmp(question, "leave") != 0 &&
		  (strncmp(question, "close", 5) != 0 || !held.waiting) && wait_until_serving();
	if (!strncmp(question, "close", 5))
		close_image(!strcmp(question, "close force"), text, size);
	else if (!strcmp(question, "leave")) {
		/* The package is being removed: nobody will close the image after its guest. */
		leaving = true;
		wake_up();
		snprintf(text, size, "ok\n");
	} else if (!serving)
		snprintf(text, size, "error=the storage is unavailable: %s\n", held.why);
	else if (!strncmp(question, "mode ", 5))
		change_mode(!strcmp(question + 5, "shared"), text, size);
	else if (!strncmp(question, "grow ", 5))
		grow(strtoll(question + 5, NULL, 10), text, size);
	else if (!strncmp(question, "owner ", 6))
		change_owner(strtoul(question + 6, NULL, 10), text, size);
	else if (!strncmp(question, "point ", 6))
		change_point(question + 6, true, text, size);
	else if (!strncmp(question, "drop ", 5))
		change_point(question + 5, false, text, size);
	else if (!strcmp(question, "flush"))
		snprintf(text, size, storage_flush() ? "error=not flushed\n" : "ok\n");
	else if (!strcmp(question, "renew")) {
		if (storage_hold(LONG_HOLD))
			storage_flush();
		replace();
	} else
		snprintf(text, size, "error=unknown request\n");
	pthread_mutex_unlock(&operation);
}

/* -- the main loop --------------------------------------------------------------------- */

static void set_failing(bool failing)
{
	struct nbd_export exported = {held.size, held.block ? held.block : 512, failing};

	nbd_set_export(&exported);
}

static void begin_to_serve(void)
{
	state = SERVING;
	state_write_held(&config, &held);
	set_failing(false);
	nbd_drop_all(); /* clients that got errors in the meantime */
	sd_notify(0, "READY=1\nSTATUS=serving");
}

static void fail_first(void)
{
	char text[TEXT_LENGTH + WORD_LENGTH + 32];

	switch (outcome) {
	case HELD:
		snprintf(text, sizeof(text), "%d %s", reason.number,
			 reason.shared ? "shared" : "exclusive");
		state_write_error(&config, "held", text);
		break;
	case FOREIGN:
		snprintf(text, sizeof(text), "%d %s", reason.number, reason.word);
		state_write_error(&config, "foreign", text);
		break;
	case GONE:
		state_write_error(&config, "gone", reason.text);
		break;
	default:
		state_write_error(&config, "error", reason.text);
	}
	for (int which = 0; which < SOCKETS; which++)
		unlink(state_path(&config, socket_names[which]));
	_exit(outcome == HELD || outcome == FOREIGN ? EXIT_HELD : EXIT_FAILED);
}

/* Handle the result of opening the image; returns when to try again, 0 for never. */
static double on_opened(void)
{
	double age;

	if (outcome == OPENED) {
		begin_to_serve();
		return 0;
	}
	if (first)
		fail_first();
	if (outcome == LOST) {
		say("%s (node number %d): the image is no longer served", reason.text, reason.number);
		held.lost = true;
		snprintf(held.why, sizeof(held.why), "%s", reason.text);
		state_write_held(&config, &held);
		state = IS_LOST;
		set_failing(true);
		each_client(end_qemu);
		sd_notify(0, "STATUS=lost");
		return 0;
	}
	if (!held.waiting) {
		held.waiting = state_now();
		say("requests are waiting: %s", reason.text);
	}
	snprintf(held.why, sizeof(held.why), "%s", reason.text);
	state_write_held(&config, &held);
	if (outcome == GONE) /* nothing to wait for: errors at once */
		held.waiting = state_now() - config.patience;
	age = state_now() - held.waiting;
	return state_now() + (age < 10 ? 0.5 : age < 60 ? 1 : 3);
}

/* Requests failed that may succeed later, through a new process and its new connection. */
static void *settle_and_replace(void *data)
{
	storage_hold(LONG_HOLD);
	replace();
	return data;
}

static void on_storage_trouble(void)
{
	pthread_t thread;

	say("the storage failed, opening it again: %s", trouble);
	pthread_mutex_lock(&lock);
	if (!held.waiting)
		held.waiting = state_now();
	snprintf(held.why, sizeof(held.why), "%s", trouble);
	pthread_mutex_unlock(&lock);
	state_write_held(&config, &held);
	if (pthread_create(&thread, NULL, settle_and_replace, NULL) != 0)
		replace();
}

/* A brick is back: lock everything again before it is used.  False if it is too early. */
static bool take_brick_in(void)
{
	if (state_now() - renewed < RENEW_SECONDS)
		return false;
	if (!fence_brick_is_back())
		return true;
	if (pthread_mutex_trylock(&operation) != 0)
		return false; /* after the current operation */
	if (storage_hold(SHORT_HOLD) && storage_flush() == 0) {
		say("a brick is back, opening the image again");
		replace();
	}
	storage_go_on();
	pthread_mutex_unlock(&operation);
	return true;
}

/* Requests that wait for space are sent repeatedly; there is space when none was refused for a
 * while. */
static void watch_room(void)
{
	bool over;

	pthread_mutex_lock(&lock);
	over = full_since && state_now() - full_since > config.patience;
	if (full_since && state_now() - full_last > ROOM_SECONDS && !storage_waiting())
		full_since = 0;
	pthread_mutex_unlock(&lock);
	/* Each refusal wakes up this loop, but does not cause an immediate retry. */
	if (storage_waiting() && (over || state_now() - sent_again >= AGAIN_SECONDS)) {
		sent_again = state_now();
		storage_again(over);
	}
}

static bool may_connect(uid_t uid)
{
	bool may;

	pthread_mutex_lock(&lock);
	may = uid == 0 || uid == held.owner;
	pthread_mutex_unlock(&lock);
	return may;
}

static void take_client(void)
{
	int connection = accept4(sockets[NBD_SOCKET], NULL, NULL, SOCK_CLOEXEC);
	struct ucred peer = {0};
	socklen_t length = sizeof(peer);

	if (connection < 0)
		return;
	/* The mode of the socket keeps others out, but its owner could change it. */
	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 ||
	    !may_connect(peer.uid)) {
		say("refused a connection from process %d of user %u", (int)peer.pid, peer.uid);
		close(connection);
		return;
	}
	if (state == IS_LOST)
		end_qemu((int)peer.pid);
	else
		note_client((int)peer.pid);
	nbd_serve(connection);
}

static bool accepts_clients(void)
{
	if (state != OPENING)
		return true;
	/* When the patience is over, clients get errors. */
	if (first || !held.waiting || state_now() - held.waiting < config.patience)
		return false;
	set_failing(true);
	return held.size > 0;
}

static int run(int signals)
{
	struct pollfd events[] = {
		{wake, POLLIN, 0}, {signals, POLLIN, 0}, {sockets[CONTROL_SOCKET], POLLIN, 0},
		{sockets[NBD_SOCKET], POLLIN, 0},
	};
	bool denied = false;
	double again = 0;

	for (;;) {
		bool opening = state == OPENING;
		bool ticking = denied || full_since || leaving;
		bool opened, failed;
		uint64_t count;

		events[3].fd = accepts_clients() ? sockets[NBD_SOCKET] : -1;
		poll(events, 4, opening ? TICK_MILLISECONDS / 5 : ticking ? TICK_MILLISECONDS : -1);
		if (opening)
			fence_give_up_slow();
		if (events[0].revents && read(wake, &count, sizeof(count)) < 0)
			return 1;
		if (events[1].revents)
			leave_for_another();
		if (events[2].revents) {
			int connection = accept4(sockets[CONTROL_SOCKET], NULL, NULL, SOCK_CLOEXEC);

			if (connection >= 0)
				control_serve(connection);
		}
		if (events[3].fd >= 0 && events[3].revents)
			take_client();
		pthread_mutex_lock(&lock);
		opened = is_opened;
		is_opened = false;
		failed = is_trouble;
		denied |= is_denied && state == SERVING;
		is_denied = false;
		pthread_mutex_unlock(&lock);
		if (opened)
			again = on_opened();
		if (again && state_now() >= again)
			replace();
		if (failed && state == SERVING) {
			state = OPENING;
			on_storage_trouble();
		}
		if (denied) /* the client tries every 3 s; early attempts are kept */
			denied = !take_brick_in();
		if (full_since)
			watch_room();
		if (leaving && !has_clients()) {
			unlink(state_path(&config, "conf")); /* nobody else would do this */
			end();
		}
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;
	sigset_t stopping;
	int signals;

	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("image-server (ganeti-gluster) %s\n", VERSION);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		printf(help, argv[0]);
		return 0;
	}
	if (argc != 2) {
		fprintf(stderr, "usage: %s KEY\n", argv[0]);
		return 2;
	}
	program = argv[0];
	started = state_now();
	/* Reuse the buffers of requests instead of mapping new ones. */
	mallopt(M_MMAP_THRESHOLD, 2 * MAX_DATA);
	mallopt(M_TRIM_THRESHOLD, 4 * MAX_DATA);
	if (state_read_config(argv[1], &config) < 0)
		return EXIT_FAILED;
	first = !state_read_held(&config, &held);
	if (first)
		held.shared = config.shared;
	renewed = getenv(RENEWED_VARIABLE) ? strtod(getenv(RENEWED_VARIABLE), NULL) : 0;
	storage_patience = config.patience;
	storage_trouble = on_trouble;
	nbd_done = on_done;
	extents_init(&config);
	wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sigemptyset(&stopping);
	sigaddset(&stopping, SIGTERM);
	sigaddset(&stopping, SIGINT);
	pthread_sigmask(SIG_BLOCK, &stopping, NULL);
	signals = signalfd(-1, &stopping, SFD_CLOEXEC);
	/* Memory may be written back through this process, behind a loop device: its own
	 * allocations must not wait for that.  Kernels before 5.6 do not support this. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* a helper's end */
	if (wake < 0 || signals < 0 || get_sockets() < 0)
		return EXIT_FAILED;
	/* Nobody waits for a restart: the storage may be unavailable for long. */
	if (!first)
		sd_notify(0, "READY=1\nSTATUS=waiting");
	fence_watch(on_denied);
	if (held.lost) {
		state = IS_LOST;
		set_failing(true);
	} else if (pthread_create(&thread, NULL, open_image, NULL) != 0) {
		return EXIT_FAILED;
	}
	return run(signals);
}
