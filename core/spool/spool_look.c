/*
 * Looking is recovery without its writing: what a start would cut, make safe or rename
 * is told instead (core->look says so where it matters). So what is checked is what a
 * start would find, by the same code.
 *
 * The spool stands as if it were closing: nothing is ever pumped, and no worker is there.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_look.h"

#include "spool/spool_recover.h"

static void
on_name(void *ctx, const char *name)
{
	struct spool_core *core = ctx;

	if (strstr(name, SPOOL_DAMAGED))
		spool_finding_tell(core, &(struct spool_finding){ .file = name, .text = "was set aside; nothing reads it any more" });
}

static bool
other_files(struct spool_core *core, struct err *err)
{
	return core->disk->ops->list(core->disk, on_name, core, err) && spool_state_check(core, err);
}

static void
count(const struct spool_core *core, struct spool_counts *counts)
{
	counts->segments = core->segments_n;
	counts->messages = core->live_messages;
	counts->unread = core->unread;
	list_each (pos, &core->segments) {
		const struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		counts->bytes += segment->end + segment->journal_bytes;
	}
}

static bool
look_through(struct spool_core *core, struct spool_counts *counts, struct err *err)
{
	struct err trouble = { 0 };
	bool ok;

	spool_enter(&core->first);
	core->counts = counts;
	ok = spool_recover(core, &trouble) && other_files(core, &trouble);
	if (!ok && err)
		*err = trouble;
	if (ok)
		count(core, counts);
	core->counts = NULL;
	spool_leave(&core->first);
	return ok;
}

struct spool *
spool_look(struct disk *disk, const struct spool_look_options *options, const struct spool_owner *owner,
	   struct spool_counts *counts_out, struct err *err)
{
	static const struct spool_options none = { 0 };
	struct spool_core *core;
	struct loop *loop;

	*counts_out = (struct spool_counts){ 0 };
	if (!disk->ops->lock(disk, "lock", err))
		return NULL;
	loop = mem_alloc(sizeof(*loop));
	timers_init(&loop->timers);
	core = spool_new(disk, NULL, loop, &none, owner);
	core->closing = true;
	core->look = options;
	if (look_through(core, counts_out, err))
		return &core->first;
	spool_look_end(&core->first);
	return NULL;
}

void
spool_look_end(struct spool *spool)
{
	struct loop *loop;

	if (!spool)
		return;
	loop = spool->loop;
	spool_free(spool->core);
	timers_fini(&loop->timers);
	free(loop);
}
