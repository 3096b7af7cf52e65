/*
 * Plain blocking calls: a command has nothing else to do than wait. The answer
 * is one line, ended by a line feed; the connection is ours and ends with it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_control.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util/buf.h"

#define PATH_BUILT_IN "/run/sluice/control.sock"
#define ANSWER_MAX    (2048ul * 1024 * 1024)

const char *
cmd_control_path(const char *given)
{
	const char *env = getenv("SLUICE_CONTROL");

	if (given && *given)
		return given;
	return env && *env ? env : PATH_BUILT_IN;
}

static int
dial(const char *path, struct err *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 30 };
	size_t n = strlen(path);
	int fd;

	if (n >= sizeof(at.sun_path)) {
		err_set(err, ERR_PERM, "%.200s: a socket's path may have %zu bytes, this one has %zu", path, sizeof(at.sun_path) - 1, n);
		return -1;
	}
	memcpy(at.sun_path, path, n + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err_sys(err, "socket");
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	if (errno == EACCES || errno == EPERM)
		err_set(err, ERR_PERM, "%s: only root and the user who runs the node may ask it", path);
	else if (errno == EAGAIN)
		err_set(err, ERR_TEMP, "the node at %s is too busy to answer", path);
	else
		err_set(err, ERR_PERM, "no node answers at %s (is it running? --control PATH names another socket)", path);
	close(fd);
	return -1;
}

static bool
send_all(int fd, struct span bytes)
{
	while (bytes.n) {
		ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes = span_from(bytes, (size_t)n);
	}
	return true;
}

/* Up to the line feed. */
static bool
receive_line(int fd, const char *path, struct buf *in, struct err *err)
{
	for (;;) {
		char *room = buf_grow(in, 65536);
		ssize_t n = room ? recv(fd, room, 65536, 0) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return err_set(err, ERR_TEMP, "the node at %s has said nothing for 30 seconds", path);
		if (n <= 0)
			return err_set(err, ERR_TEMP, "the node at %s ended the connection before its answer", path);
		buf_grow_commit(in, (size_t)n);
		if (memchr(room, '\n', (size_t)n))
			return true;
	}
}

/* The answer without its envelope. */
static json_t *
unwrap(struct span line, const char *path, struct err *err)
{
	json_t *answer = json_loadb(line.p, line.n, JSON_DISABLE_EOF_CHECK, NULL);
	json_t *result = json_object_get(answer, "result");
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (json_is_true(json_object_get(answer, "ok")) && result)
		json_incref(result);
	else
		result = NULL;
	if (!result && error)
		err_set(err, ERR_PERM, "%s", error);
	else if (!result)
		err_set(err, ERR_PERM, "what answers at %s is not a node", path);
	json_decref(answer);
	return result;
}

/* -1: *err is set. The request is taken. */
static int
send_request(const char *path, json_t *request, struct err *err)
{
	char *text = json_dumps(request, JSON_COMPACT);
	int fd = -1;

	json_decref(request);
	if (text)
		fd = dial(path, err);
	else
		err_set(err, ERR_PERM, "an argument is not UTF-8");
	/* A node that turns us away may close before it read all: its answer says more than our failed send. */
	if (fd >= 0 && send_all(fd, span_text(text)))
		send_all(fd, SPAN("\n"));
	free(text);
	return fd;
}

json_t *
cmd_control_ask(const char *path, json_t *request, struct err *err)
{
	int fd = send_request(path, request, err);
	json_t *result = NULL;
	struct buf in;

	if (fd < 0)
		return NULL;
	buf_init(&in, ANSWER_MAX);
	if (receive_line(fd, path, &in, err))
		result = unwrap(buf_span(&in), path, err);
	close(fd);
	buf_fini(&in);
	return result;
}

/* Each whole line of what came. False: fn has enough, or *err is set. */
static bool
follow_lines(struct buf *in, const char *path, bool (*fn)(void *ctx, const json_t *line), void *ctx, struct err *err)
{
	size_t end;

	while ((end = span_find(buf_span(in), '\n')) != SIZE_MAX) {
		json_t *line = unwrap(span_first(buf_span(in), end), path, err);
		bool more = line && fn(ctx, line);

		json_decref(line);
		if (!more)
			return false;
		buf_consume(in, end + 1);
	}
	return true;
}

bool
cmd_control_follow(const char *path, json_t *request, bool (*fn)(void *ctx, const json_t *line), void *ctx, struct err *err)
{
	int fd = send_request(path, request, err);
	struct timeval for_ever = { 0 };
	struct buf in;
	bool more = fd >= 0;

	if (!more)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever));
	buf_init(&in, ANSWER_MAX);
	while (more)
		more = receive_line(fd, path, &in, err) && follow_lines(&in, path, fn, ctx, err);
	close(fd);
	buf_fini(&in);
	return err->kind == ERR_NONE;
}

json_t *
cmd_control_request(const char *command, const char *argument)
{
	if (!argument)
		return json_pack("{s:s, s:[]}", "command", command, "arguments");
	return json_pack("{s:s, s:[s]}", "command", command, "arguments", argument);
}
