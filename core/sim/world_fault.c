/*
 * world_fault - what goes wrong when a spec says so.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_own.h"

#define TORN_BYTES_MAX  2000u
#define TORN_NAME_MAX   64u

static void
newest(void *ctx, const char *name)
{
	char *found = ctx;

	if (span_ends_nocase(span_text(name), SPAN(".seg")) && strcmp(name, found) > 0)
		snprintf(found, TORN_NAME_MAX, "%s", name);
}

/* The front of a record on its way to the newest segment: nobody was told that it is safe. */
void
world_tear(struct world *world)
{
	struct disk *disk = &world->disk->disk;
	char name[TORN_NAME_MAX] = "", bytes[TORN_BYTES_MAX];
	struct iovec iov = { bytes, 1 + prng_below(&world->prng, sizeof bytes) };
	struct disk_file *file;
	uint64_t end;

	world->torn_write = false;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)prng_u64(&world->prng);
	if (!disk->ops->list(disk, newest, name, NULL) || name[0] == '\0')
		return;
	file = disk->ops->open(disk, name, false, NULL);
	if (file == NULL)
		return;
	if (disk->ops->size(file, &end, NULL))
		disk->ops->write(file, end, &iov, 1, NULL);
	disk->ops->close(file);
}

void
world_fault_torn_write(struct world *world, bool on)
{
	world->torn_write = on;
}

void
world_fault_lying_sync(struct world *world, bool on)
{
	world->disk->lying = on;
}

void
world_fault_disk_full(struct world *world, bool on)
{
	world->disk->full = on;
}

void
world_fault_disk_error(struct world *world, uint64_t n)
{
	disk_sim_fail(world->disk, n, 0);
}

void
world_fault_clock_jump(struct world *world, int64_t by_ms)
{
	loop_sim_jump_wall(world->loop, by_ms);
}

void
world_fault_dns(struct world *world, enum world_dns_fault fault)
{
	static const enum resolver_status status[] = { RESOLVER_OK, RESOLVER_SERVFAIL, RESOLVER_TIMEOUT };

	resolver_sim_fail(world->names, status[fault]);
}
