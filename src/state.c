/* Files below the run directory; the socket for clients has a directory of its own.
 *
 * KEY.conf   what to serve; written by the program that starts the server
 * KEY.held   the state of the lock, written when it is taken: a start that finds it is a restart
 * KEY.unflushed  what was written and not flushed (unflushed.c)
 * KEY.error  why a first start failed: one line, a word and a text
 *
 * All consist of lines NAME=VALUE.  They do not survive a boot: the directory is in memory.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RUN_DIR "/run/ganeti-gluster/images"
#define SOCKET_DIR "/run/ganeti-gluster-nbd"

const char *state_path(const struct config *config, const char *suffix)
{
	static __thread char path[256];

	snprintf(path, sizeof(path), "%s/%s.%s", strcmp(suffix, "nbd") ? RUN_DIR : SOCKET_DIR,
		 config->key, suffix);
	return path;
}

void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

double state_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void copy(char *target, size_t size, const char *value)
{
	snprintf(target, size, "%s", value);
}

/* Calls `take` with each name and value of a file; false if there is no such file. */
static bool read_lines(const char *path, void *target, void (*take)(void *, const char *, char *))
{
	char line[2048], *value;
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		value = strchr(line, '=');
		if (!value)
			continue;
		*value++ = '\0';
		take(target, line, value);
	}
	fclose(file);
	return true;
}

/* What is written last counts. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void write_lines(const struct config *config, const char *suffix, const char *text)
{
	char path[256], partial[300];
	int fd;
	size_t length = strlen(text);

	pthread_mutex_lock(&lock);
	copy(path, sizeof(path), state_path(config, suffix));
	snprintf(partial, sizeof(partial), "%s.new", path);
	fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, length) != (ssize_t)length || rename(partial, path) < 0)
		say("cannot write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&lock);
}

static void take_config(void *target, const char *name, char *value)
{
	struct config *config = target;

	if (!strcmp(name, "volume")) {
		copy(config->volume, sizeof(config->volume), value);
	} else if (!strcmp(name, "image")) {
		copy(config->image, sizeof(config->image), value);
	} else if (!strcmp(name, "server") && config->server_count < MAX_SERVERS) {
		struct address *server = &config->servers[config->server_count++];
		char *port = strrchr(value, ' ');

		server->port = port ? atoi(port + 1) : 0;
		if (port)
			*port = '\0';
		copy(server->host, sizeof(server->host), value);
	} else if (!strcmp(name, "number")) {
		config->number = atoi(value);
	} else if (!strcmp(name, "word")) {
		copy(config->word, sizeof(config->word), value);
	} else if (!strcmp(name, "take")) {
		copy(config->take, sizeof(config->take), value);
	} else if (!strcmp(name, "locking")) {
		config->locking = !strcmp(value, "on");
	} else if (!strcmp(name, "mode")) {
		config->shared = !strcmp(value, "shared");
	} else if (!strcmp(name, "patience")) {
		config->patience = atoi(value);
	}
}

int state_read_config(const char *key, struct config *config)
{
	memset(config, 0, sizeof(*config));
	copy(config->key, sizeof(config->key), key);
	if (!read_lines(state_path(config, "conf"), config, take_config)) {
		say("cannot read %s: %s", state_path(config, "conf"), strerror(errno));
		return -1;
	}
	if (!config->volume[0] || !config->image[0] || !config->server_count || !config->word[0]) {
		say("%s has no volume, image, server or word", state_path(config, "conf"));
		return -1;
	}
	return 0;
}

static void take_held(void *target, const char *name, char *value)
{
	struct held *held = target;

	if (!strcmp(name, "mode"))
		held->shared = !strcmp(value, "shared");
	else if (!strcmp(name, "seen"))
		copy(held->seen, sizeof(held->seen), value);
	else if (!strcmp(name, "size"))
		held->size = strtoll(value, NULL, 10);
	else if (!strcmp(name, "block"))
		held->block = (uint32_t)strtoul(value, NULL, 10);
	else if (!strcmp(name, "waiting"))
		held->waiting = strtod(value, NULL);
	else if (!strcmp(name, "why"))
		copy(held->why, sizeof(held->why), value);
	else if (!strcmp(name, "clients"))
		copy(held->clients, sizeof(held->clients), value);
	else if (!strcmp(name, "owner"))
		held->owner = (uid_t)strtoul(value, NULL, 10);
	else if (!strcmp(name, "lost"))
		held->lost = !strcmp(value, "yes");
}

bool state_read_held(const struct config *config, struct held *held)
{
	memset(held, 0, sizeof(*held));
	return read_lines(state_path(config, "held"), held, take_held);
}

void state_write_held(const struct config *config, const struct held *held)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "mode=%s\nseen=%s\nsize=%lld\nblock=%u\nwaiting=%.3f\nwhy=%s\nlost=%s\nclients=%s\n"
		 "owner=%u\n",
		 held->shared ? "shared" : "exclusive", held->seen, (long long)held->size,
		 held->block, held->waiting, held->why, held->lost ? "yes" : "no",
		 held->clients, held->owner);
	write_lines(config, "held", text);
}

void state_write_error(const struct config *config, const char *what, const char *text)
{
	char line[TEXT_LENGTH + 64];

	snprintf(line, sizeof(line), "%s=%s\n", what, text);
	write_lines(config, "error", line);
	say("%s: %s", what, text);
}
