/*
 * world_fault - what goes wrong when a spec says so.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_own.h"

#define TORN_BYTES_MAX  2000u
#define TORN_NAME_MAX   64u
#define NUMBER_BYTES    8u      /* a record may end in one, and that in zeros */

static void
newest(void *ctx, const char *name)
{
	char *found = ctx;

	if (span_ends_nocase(span_text(name), SPAN(".seg")) && strcmp(name, found) > 0)
		snprintf(found, TORN_NAME_MAX, "%s", name);
}

/* The bytes of a file, without the zeros that the spool wrote ahead. False: it cannot be read, or there are none. */
static bool
content_size(const struct disk_ops *ops, struct disk_file *file, uint64_t *size_out)
{
	char block[4096];
	uint64_t end;
	size_t n;

	if (!ops->size(file, size_out, NULL))
		return false;
	for (end = *size_out; end > 0; end -= n) {
		n = (size_t)min_i64((int64_t)end, sizeof block);
		if (!ops->read(file, end - n, block, n, &n, NULL))
			return false;
		while (n > 0 && block[n - 1] == 0)
			n--, end--;
		if (n > 0)
			break;
	}
	*size_out = (uint64_t)min_i64((int64_t)(end + NUMBER_BYTES), (int64_t)*size_out);
	return end > 0;
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
	if (content_size(disk->ops, file, &end))
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
	world->disk->fail_at = world->disk->calls + n;
}

void
world_fault_disk_cut(struct world *world, uint64_t n)
{
	world->disk->cut_at = world->disk->calls + n;
}

void
world_fault_disk_says(struct world *world, int sys)
{
	world->disk->sys = sys;
}

uint64_t
world_disk_calls(const struct world *world)
{
	return world->disk->calls;
}

/* A file of the spool's own, each as likely, and a byte of it. */
struct place {
	struct world *world;
	unsigned      seen;
	char          name[TORN_NAME_MAX];
	struct disk_file *file;
	uint64_t      at;
};

static void
place_name(void *ctx, const char *name)
{
	struct place *place = ctx;
	struct span s = span_text(name);

	if (!span_ends_nocase(s, SPAN(".seg")) && !span_ends_nocase(s, SPAN(".jnl")) && !span_eq(s, SPAN("state")))
		return;
	if (prng_below(&place->world->prng, ++place->seen) == 0)
		snprintf(place->name, sizeof place->name, "%s", name);
}

/* True: place->file is open. */
static bool
place_choose(struct world *world, struct place *place)
{
	struct disk *disk = &world->disk->disk;
	uint64_t size = 0;

	*place = (struct place){ .world = world };
	if (!disk->ops->list(disk, place_name, place, NULL) || place->name[0] == '\0')
		return false;
	place->file = disk->ops->open(disk, place->name, false, NULL);
	if (place->file == NULL)
		return false;
	if (content_size(disk->ops, place->file, &size)) {
		place->at = prng_below(&world->prng, size);
		return true;
	}
	disk->ops->close(place->file);
	return false;
}

void
world_fault_bit_flip(struct world *world)
{
	const struct disk_ops *ops = world->disk->disk.ops;
	struct place place;
	char byte = 0;
	size_t got = 0;

	if (!place_choose(world, &place))
		return;
	if (ops->read(place.file, place.at, &byte, 1, &got, NULL) && got == 1) {
		byte ^= (char)(1u << prng_below(&world->prng, 8));
		ops->write(place.file, place.at, &(struct iovec){ &byte, 1 }, 1, NULL);
		ops->sync(place.file, NULL);
	}
	ops->close(place.file);
}

void
world_fault_bad_sector(struct world *world)
{
	struct place place;

	if (!place_choose(world, &place))
		return;
	disk_sim_spoil(world->disk, place.name, place.at);
	world->disk->disk.ops->close(place.file);
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
