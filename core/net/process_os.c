/*
 * process - /proc, limits, users and capabilities.
 *
 * capset() and prctl() change the thread that calls them, and glibc carries only setuid() and
 * its like to the others: so what is to hold for all is done before there are others. The bounding set goes
 * then, too, though some capabilities are needed until process_become(): it bounds what a program that is
 * executed can get, not what we hold.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Read by jemalloc as the process begins: what was freed serves whoever asks next for that long, then goes back to the system. */
extern const char *const malloc_conf;
const char *const malloc_conf = "dirty_decay_ms:2000,muzzy_decay_ms:0,max_background_threads:1";

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

/* jemalloc's, which we are linked with but in the builds of the sanitizers: they have a malloc of their own. */
int mallctl(const char *name, void *old, size_t *old_n, void *new, size_t new_n) __attribute__((weak));

void
process_memory_trim(void)
{
	if (mallctl != NULL)
		(void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0);         /* MALLCTL_ARENAS_ALL */
}

void
process_memory_aside(void)
{
	bool yes = true;

	if (mallctl != NULL)
		(void)mallctl("background_thread", NULL, NULL, &yes, sizeof yes);
}

void
process_hold_signals(void)
{
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGHUP);
	sigaddset(&held, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &held, NULL);
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

#define CAPABILITY(name) (UINT64_C(1) << (name))

/* Of those we hold only these, in force. Where that is so nothing is called: a filter of system calls may forbid it. */
static bool
keep_capabilities(uint64_t wanted)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	bool differs = false;

	if (syscall(SYS_capget, &header, data) != 0)
		return false;
	for (unsigned i = 0; i < countof(data); i++) {
		uint32_t these = (uint32_t)(wanted >> (32 * i)) & data[i].permitted;

		differs = differs || data[i].permitted != these || data[i].effective != these;
		data[i].permitted = data[i].effective = these;
		data[i].inheritable = 0;
	}
	return !differs || syscall(SYS_capset, &header, data) == 0;
}

static bool
dump_no_core(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0 && limit.rlim_max == 0)
		return true;
	return setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) == 0;
}

/* Takes CAP_SETPCAP; who has not got it is bound by no_new_privs all the same. */
static void
empty_bounding_set(void)
{
	for (unsigned long i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

bool
process_harden(bool becomes_user, struct err *err)
{
	uint64_t wanted = CAPABILITY(CAP_NET_BIND_SERVICE);

	if (process_is_root())
		wanted |= CAPABILITY(CAP_DAC_OVERRIDE);
	if (becomes_user)
		wanted |= CAPABILITY(CAP_CHOWN) | CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID);
	signal(SIGPIPE, SIG_IGN);
	empty_bounding_set();
	if (dump_no_core() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && keep_capabilities(wanted) &&
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
		return true;
	return err_sys(err, "cannot give up what is not needed");
}

bool
process_is_root(void)
{
	return geteuid() == 0;
}

static const struct passwd *
find_user(const char *user, struct err *err)
{
	const struct passwd *entry = getpwnam(user);

	if (entry == NULL)
		err_set(err, ERR_PERM, "user %s: there is no such user", user);
	return entry;
}

char *
process_user_name(uint32_t number)
{
	const struct passwd *entry = getpwuid(number);

	return entry != NULL ? mem_strdup(entry->pw_name) : NULL;
}

static void
close_quietly(int fd)
{
	int sys = errno;

	close(fd);
	errno = sys;
}

/* A component at a time, each no link; ENOTDIR where one is. openat2() would do it at once, but not every container has it. */
static int
open_straight(const char *path)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int at = open(*path == '/' ? "/" : ".", flags), before;
	char *names = mem_strdup(path), *rest;

	for (char *name = strtok_r(names, "/", &rest); at >= 0 && name != NULL; name = strtok_r(NULL, "/", &rest)) {
		before = at;
		at = openat(before, name, flags);
		close_quietly(before);
	}
	free(names);
	return at;
}

static bool
give(const char *path, const struct passwd *to)
{
	int fd = open_straight(path);
	bool given = fd >= 0 && fchownat(fd, "", to->pw_uid, to->pw_gid, AT_EMPTY_PATH) == 0;

	if (fd >= 0)
		close_quietly(fd);
	return given;
}

bool
process_give_folder(const char *path, const char *user, struct err *err)
{
	const struct passwd *entry = find_user(user, err);
	struct stat st;

	if (entry == NULL)
		return false;
	if (!process_is_root() || (stat(path, &st) == 0 && st.st_uid == entry->pw_uid) || give(path, entry))
		return true;
	if (errno == ENOTDIR)           /* it was opened as a folder before */
		return err_set(err, ERR_PERM, "cannot give %s to %s: a symbolic link leads there: chown(1) what it leads to, or write where that is",
			       path, user);
	return err_sys(err, "cannot give %s to %s", path, user);
}

/* The real user stays root, so that setuid(), which glibc calls in each thread, ends the capabilities of all of them. */
bool
process_act_as(const char *user, struct err *err)
{
	const struct passwd *entry = find_user(user, err);

	if (entry == NULL)
		return false;
	if (initgroups(user, entry->pw_gid) == 0 && setegid(entry->pw_gid) == 0 && seteuid(entry->pw_uid) == 0 &&
	    keep_capabilities(CAPABILITY(CAP_NET_BIND_SERVICE) | CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID)))
		return true;
	return err_sys(err, "cannot act as user %s", user);
}

bool
process_become(const char *user, struct err *err)
{
	const struct passwd *entry = find_user(user, err);

	if (entry == NULL)
		return false;
	if (geteuid() == entry->pw_uid && getuid() == entry->pw_uid)
		return true;
	if (!process_is_root() && getuid() != 0)
		return err_set(err, ERR_PERM, "user %s: only root can become another user", user);
	if (initgroups(user, entry->pw_gid) != 0 || setgid(entry->pw_gid) != 0 || setuid(entry->pw_uid) != 0)
		return err_sys(err, "cannot become user %s", user);
	if (setuid(0) == 0)
		return err_set(err, ERR_PERM, "user %s: root could be taken back", user);
	return true;
}
