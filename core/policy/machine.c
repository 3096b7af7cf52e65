/*
 * The control group's limit is that of the nearest group that has one, from our
 * own up to the root (cgroup v2), or the v1 controller's file as it is mounted in
 * a container.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/machine.h"

#include <limits.h>
#include <stdio.h>

#define CGROUP "/sys/fs/cgroup"

void
machine_hostname(char out[DOMAIN_MAX])
{
	char name[DOMAIN_MAX];
	if (gethostname(name, sizeof(name)) != 0)
		name[0] = '\0';
	name[sizeof(name) - 1] = '\0';
	if (!domain_normalize(span_text(name), out, NULL))
		snprintf(out, DOMAIN_MAX, "localhost");
}

static bool
read_line(const char *path, char *out, size_t n)
{
	FILE *file = fopen(path, "re");
	bool ok = file && fgets(out, (int)n, file);
	if (file)
		fclose(file);
	if (ok)
		out[strcspn(out, "\n")] = '\0';
	return ok;
}

static uint64_t
limit_in(const char *path)
{
	char line[64];
	uint64_t bytes;
	if (!read_line(path, line, sizeof(line)) || !span_u64(span_text(line), UINT64_MAX, &bytes) || bytes == 0)
		return UINT64_MAX;
	return bytes;
}

static uint64_t
cgroup_limit(void)
{
	char group[PATH_MAX / 2], path[PATH_MAX];
	uint64_t least = limit_in(CGROUP "/memory/memory.limit_in_bytes");
	if (!read_line("/proc/self/cgroup", group, sizeof(group)) || strncmp(group, "0::/", 4) != 0)
		return least;
	for (char *slash; (slash = strrchr(group + 3, '/')) != NULL; *slash = '\0') {
		snprintf(path, sizeof(path), CGROUP "%s/memory.max", group + 3);
		uint64_t limit = limit_in(path);
		least = limit < least ? limit : least;
	}
	return least;
}

uint64_t
machine_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_C(1) << 30;
	uint64_t group = cgroup_limit();
	return group < machine ? group : machine;
}
