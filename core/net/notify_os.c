/*
 * notify_os - one datagram a word, to the socket that the environment names. The
 * protocol is stable and smaller than the library that speaks it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/notify.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/span.h"

static mono_us_t
watchdog_us(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t value, meant;

	if (us == NULL || !span_u64(span_text(us), INT64_MAX, &value))
		return 0;
	if (pid != NULL && (!span_u64(span_text(pid), INT32_MAX, &meant) || meant != (uint64_t)getpid()))
		return 0;
	return (mono_us_t)value;
}

/* The journal's stream is named by device and inode, for a child may have been given another standard error. */
static bool
is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[48];
	struct stat st;

	if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
		return false;
	snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, ours) == 0;
}

void
notify_init(struct notify *notify)
{
	const char *path = getenv("NOTIFY_SOCKET");

	*notify = (struct notify){ .watchdog_us = watchdog_us(), .journal = is_journal() };
	if (path != NULL && (path[0] == '/' || path[0] == '@') && strlen(path) < sizeof notify->path)
		memcpy(notify->path, path, strlen(path));
}

void
notify_say(const struct notify *notify, const char *state)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t n = strlen(notify->path);
	ssize_t sent;
	int fd;

	_Static_assert(sizeof to.sun_path >= sizeof notify->path, "a path has room");
	if (n == 0)
		return;
	memcpy(to.sun_path, notify->path, n);
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sent = sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	(void)sent;     /* the manager notices silence by itself */
	close(fd);
}
