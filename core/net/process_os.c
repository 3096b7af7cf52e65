/*
 * process - /proc, limits and users.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t
process_memory_used(void)
{
	char text[128];
	unsigned long long size, resident;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	if (sscanf(text, "%llu %llu", &size, &resident) != 2)
		return 0;
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void
process_memory_trim(void)
{
	malloc_trim(0);
}

void
process_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

unsigned
process_cores(void)
{
	cpu_set_t cores;

	/* On a machine of more than CPU_SETSIZE it fails. */
	if (sched_getaffinity(0, sizeof cores, &cores) != 0)
		return (unsigned)max_i64(1, sysconf(_SC_NPROCESSORS_ONLN));
	return (unsigned)CPU_COUNT(&cores);
}

static const struct passwd *
find_user(const char *user, struct err *err)
{
	const struct passwd *entry = getpwnam(user);

	if (entry == NULL)
		err_set(err, ERR_PERM, "user %s: there is no such user", user);
	return entry;
}

bool
process_give_path(const char *path, const char *user, struct err *err)
{
	const struct passwd *entry = find_user(user, err);

	if (entry == NULL)
		return false;
	if (geteuid() != 0 || chown(path, entry->pw_uid, entry->pw_gid) == 0)
		return true;
	return err_sys(err, "cannot give %s to %s", path, user);
}

bool
process_become(const char *user, struct err *err)
{
	const struct passwd *entry = find_user(user, err);

	if (entry == NULL)
		return false;
	if (geteuid() == entry->pw_uid)
		return true;
	if (geteuid() != 0)
		return err_set(err, ERR_PERM, "user %s: only root can become another user", user);
	if (initgroups(user, entry->pw_gid) != 0 || setgid(entry->pw_gid) != 0 || setuid(entry->pw_uid) != 0)
		return err_sys(err, "cannot become user %s", user);
	if (setuid(0) == 0)
		return err_set(err, ERR_PERM, "user %s: root could be taken back", user);
	return true;
}
