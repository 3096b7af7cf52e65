/*
 * The engine's state file, and the marker that says the node closed in order.
 *
 * The file is one record (kind and place fixed), written under another name,
 * synced, and renamed: a reader sees the old one or the new one, whole. What the disk
 * did not take is written again each second: the engine has been told that it will be.
 *
 * The marker is set by the last step of closing. Opening takes it away by a rename,
 * which the disk promises to be durable, before anything is accepted: a crash
 * after that finds no marker. It vouches for the state too, so a node that never
 * wrote one does not set it beside the one that a crash left.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_recover.h"

#define STATE "state"
#define STATE_NEW "state.new"
#define MARKER "clean"
#define STATE_KIND 32
#define STATE_MAX (256u * 1024u * 1024u)

struct spool_saving {
	struct spool_fresh *record;
	bool under_way;
	mono_us_t retry_at;             /* it failed; 0: it was not tried */
	struct err err;
};

bool
spool_file_put(struct disk *disk, const char *name, struct span bytes, struct err *err)
{
	const struct disk_ops *ops = disk->ops;
	struct iovec iov = { (void *)bytes.p, bytes.n };
	struct disk_file *file;
	bool ok;

	ops->remove(disk, name, NULL);
	file = ops->open(disk, name, true, err);
	if (!file)
		return false;
	ok = (bytes.n == 0 || ops->write(file, 0, &iov, 1, err)) && ops->sync(file, err);
	ops->close(file);
	return ok;
}

static void
save_work(struct spool_core *core)
{
	struct spool_saving *saving = core->saving;
	struct disk *disk = core->disk;

	if (spool_file_put(disk, STATE_NEW, span_make(saving->record->p, saving->record->n), &saving->err))
		disk->ops->rename(disk, STATE_NEW, STATE, &saving->err);
}

static void
save_done(struct spool_core *core)
{
	struct spool_saving *saving = core->saving;

	if (saving->err.kind && !saving->retry_at)
		log_warning(core->log, "%s; the state of limits and retries is not saved", saving->err.text);
	if (saving->err.kind && !core->closing) {
		saving->under_way = false;
		saving->err = (struct err){ 0 };
		saving->retry_at = core->now + SPOOL_RETRY_US;
		spool_retry_later(core);
		return;
	}
	if (!saving->err.kind)
		core->was_clean = core->state_old = false;      /* what load would say: it was this node, and it is not closed */
	spool_state_free(core);
}

bool
spool_state_waits(const struct spool_core *core)
{
	return core->saving && core->saving->retry_at > core->now;
}

bool
spool_state_start(struct spool_core *core)
{
	if (!core->saving || core->saving->under_way || spool_state_waits(core))
		return false;
	core->saving->under_way = true;
	spool_job_run(core, save_work, save_done);
	return true;
}

/* NULL: more than would be read again. */
static struct spool_fresh *
state_record(struct spool_core *core, struct span bytes)
{
	struct spool_fresh *record;

	if (bytes.n > STATE_MAX) {
		log_warning(core->log, "the state of limits and retries, of %zu MiB, is too large; it was not saved",
			    bytes.n >> 20);
		return NULL;
	}
	record = spool_fresh_new(STATE_KIND, (uint32_t)bytes.n);
	if (bytes.n)
		memcpy(record->p + SPOOL_RECORD_HEADER, bytes.p, bytes.n);
	spool_fresh_seal(record, 0, 0);
	return record;
}

static void
saving_new(struct spool_core *core, struct spool_fresh *record)
{
	core->saving = mem_alloc(sizeof(*core->saving));
	core->saving->record = record;
}

bool
spool_state_save(struct spool *spool, struct span bytes)
{
	struct spool_core *core = spool->core;
	struct spool_fresh *record = NULL;

	spool_enter(spool);
	if (!core->saving && !core->closing)
		record = state_record(core, bytes);
	if (record) {
		saving_new(core, record);
		spool_pump(core);
	}
	spool_leave(spool);
	return record != NULL;
}

void
spool_state_save_now(struct spool *spool, struct span bytes)
{
	struct spool_core *core = spool->core;
	struct spool_fresh *record = NULL;

	spool_enter(spool);
	if (!core->closing)
		record = state_record(core, bytes);
	if (record) {
		spool_job_finish(core);
		spool_state_free(core);
		saving_new(core, record);
		save_work(core);
		save_done(core);
	}
	spool_leave(spool);
	if (!record)
		return;
	spool_tell(spool);
	spool_enter(spool);
	spool_pump(core);
	spool_leave(spool);
}

void
spool_state_last(struct spool *spool, struct span bytes)
{
	struct spool_core *core = spool->core;

	spool_enter(spool);
	if (core->last_state)
		spool_fresh_unref(core->last_state);
	core->last_state = state_record(core, bytes);
	core->last_state_lost = core->last_state == NULL;
	spool_leave(spool);
}

/* A file that is not there is not an error; the listing tells. */
struct look_for {
	const char *name;
	bool there;
};

static void
on_name(void *ctx, const char *name)
{
	struct look_for *look = ctx;

	if (strcmp(name, look->name) == 0)
		look->there = true;
}

bool
spool_name_is_there(struct disk *disk, const char *name, bool *there_out, struct err *err)
{
	struct look_for look = { .name = name };

	if (!disk->ops->list(disk, on_name, &look, err))
		return false;
	*there_out = look.there;
	return true;
}

/* What cannot be read ends it; *bad_to_out: there the rest begins. */
static bool
read_whole(struct disk *disk, const char *name, struct buf *to, uint64_t *bad_to_out, struct err *err)
{
	uint64_t size;
	struct disk_file *file = spool_file_open(disk, name, &size, err);
	size_t got = 0;
	bool ok = true;

	*bad_to_out = 0;
	if (!file)
		return spool_is_unreadable(err);
	/* Larger than it may be, it is damaged: its front is enough to know. */
	if (size > STATE_MAX + SPOOL_RECORD_HEADER)
		size = SPOOL_RECORD_HEADER - 1;
	if (size > 0) {
		char *room = buf_grow(to, (size_t)size);
		ok = room ? spool_read_some(disk->ops, file, 0, room, (size_t)size, &got, bad_to_out, err)
			  : err_set(err, ERR_TEMP, "spool: no room for the file %s", name);
		if (ok)
			buf_grow_commit(to, got);
	}
	disk->ops->close(file);
	return ok;
}

/* *payload_out lives as long as *bytes. found_out->damage: a file is there, and no good. */
static bool
state_read(struct disk *disk, struct buf *bytes, struct span *payload_out, struct spool_finding *found_out, struct err *err)
{
	struct spool_record record;
	uint64_t bad_to;
	bool there;

	*payload_out = (struct span){ 0 };
	*found_out = (struct spool_finding){ .file = STATE, .text = "cannot be read: limits begin as if they were used up, "
					     "retries begin anew, pauses and overlays are gone" };
	if (!spool_name_is_there(disk, STATE, &there, err))
		return false;
	if (!there)
		return true;
	if (!read_whole(disk, STATE, bytes, &bad_to, err))
		return false;
	found_out->damage = !spool_record_parse(buf_span(bytes), 0, 0, &record) || record.kind != STATE_KIND;
	if (!found_out->damage)
		*payload_out = record.payload;
	found_out->at = bad_to ? buf_len(bytes) : 0;
	found_out->to = bad_to;
	return true;
}

static bool
set_aside(struct spool_core *core, const struct spool_finding *found, struct err *err)
{
	char aside[SPOOL_NAME_MAX];

	if (!spool_set_aside(core->disk, STATE, aside, err))
		return false;
	spool_finding_tell(core, found);
	log_warning(core->log, "spool: the damaged " STATE " is set aside as %s", aside);
	core->state_lost = true;
	return true;
}

bool
spool_state_load(struct spool *spool, struct buf *out, bool *clean_out, struct err *err)
{
	struct spool_core *core = spool->core;
	struct spool_finding found;
	struct err trouble = { 0 };
	struct span payload;
	struct buf bytes;
	bool ok;

	buf_init(&bytes, 0);
	spool_enter(spool);
	ok = state_read(core->disk, &bytes, &payload, &found, &trouble) && (!found.damage || set_aside(core, &found, &trouble));
	if (ok && !buf_add(out, payload))
		ok = err_set(&trouble, ERR_TEMP, "spool: no room for the file " STATE);
	if (!ok && err)
		*err = trouble;
	*clean_out = core->was_clean && !core->state_lost;
	spool_leave(spool);
	buf_fini(&bytes);
	return ok;
}

bool
spool_state_check(struct spool_core *core, struct err *err)
{
	struct spool_finding found;
	struct span payload;
	struct buf bytes;
	bool ok;

	buf_init(&bytes, 0);
	ok = state_read(core->disk, &bytes, &payload, &found, err);
	if (ok && found.damage)
		spool_finding_tell(core, &found);
	buf_fini(&bytes);
	return ok;
}

bool
spool_state_lost(const struct spool *spool)
{
	return spool->core->state_lost;
}

bool
spool_state_look(struct spool_core *core, struct err *err)
{
	return spool_name_is_there(core->disk, MARKER, &core->was_clean, err);
}

bool
spool_state_begin(struct spool_core *core, struct err *err)
{
	const struct disk_ops *ops = core->disk->ops;

	if (!core->was_clean) {
		if (!spool_name_is_there(core->disk, STATE, &core->state_old, err))
			return false;
		core->state_lost = !core->state_old && core->segments_n > 0;    /* the crash came before the first */
		core->state_old = core->state_old || core->state_lost;
		return true;
	}
	if (!ops->rename(core->disk, MARKER, SPOOL_REMOVED, err))
		return false;
	ops->remove(core->disk, SPOOL_REMOVED, NULL);
	return true;
}

void
spool_state_end(struct spool_core *core)
{
	struct err err = { 0 };

	if (core->saving) {
		save_work(core);
		save_done(core);
	}
	if (core->last_state) {
		saving_new(core, core->last_state);
		core->last_state = NULL;
		save_work(core);
		err = core->saving->err;
		save_done(core);
	}
	/* With an older state beside it the marker would promise more than is there. */
	if (!err.kind && !core->failing.kind && !core->last_state_lost && !core->state_old && !spool_file_put(core->disk, MARKER, span_make(NULL, 0), &err))
		log_warning(core->log, "%s; the next start will check the spool as after a crash", err.text);
}

void
spool_state_free(struct spool_core *core)
{
	if (!core->saving)
		return;
	spool_fresh_unref(core->saving->record);
	free(core->saving);
	core->saving = NULL;
}
