/* The control socket, for root only: one request and one answer for each connection. */
#include "server.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define QUESTION_LENGTH 256
#define ANSWER_LENGTH 4096
#define QUESTION_SECONDS 10

static void *serve(void *data)
{
	int connection = (int)(intptr_t)data;
	char question[QUESTION_LENGTH], text[ANSWER_LENGTH] = "";
	ssize_t length = recv(connection, question, sizeof(question) - 1, 0);

	if (length > 0) {
		question[length] = '\0';
		answer(question, text, sizeof(text));
		send(connection, text, strlen(text), MSG_NOSIGNAL);
	}
	close(connection);
	return NULL;
}

void control_serve(int connection)
{
	struct timeval limit = {QUESTION_SECONDS, 0};
	pthread_t thread;

	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection) != 0) {
		close(connection);
		return;
	}
	pthread_detach(thread);
}
