/*
 * A journal written anew: in place of one that recovery found damaged, or of one that the disk
 * does not take any more while the node runs.
 *
 * What the new one begins with, recovery knows: what it could read of the old one. A node that
 * runs does not read the old one, which most likely fails too. How the live messages stand the
 * engine knows; of all others in the segment only that they are over matters, and MOVED says that:
 * a walk over the segment finds them. What the disk does not read then it may read later, so a few
 * tries are made; what stays unread is told, for it may be sent again. Where live ones begin is said
 * too, so that none is lost behind it. Since the journal fails nothing is appended (the spool refuses),
 * and once no ticket is on its way every message is either live or over. What is settled from then on waits in
 * memory for the new one, as it would for the old.
 *
 * The new one is there, synced, under another name before the old one is renamed: a crash between
 * the two renames loses nothing (spool_names.c). A rename that fails may have happened all the same, so
 * each try looks what is there. What fails, on a disk without room say, is tried again each second;
 * meanwhile the journal counts as one that cannot be written (spool_batch.c): new mail is refused,
 * and when too much cannot be written down, delivery waits.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_recover.h"

#define PLACES_APART 4096u              /* of those that the new one names */
#define LAST_ROUND 2u
#define READ_TRIES 4u

struct spool_renewal {
	bool        gathered;
	uint64_t    synced;             /* then: so far is the segment, */
	uint64_t   *live, *places;      /* these wait in it, by id, there their records begin, in order, */
	size_t      live_n, live_cap;
	struct spool_notes notes;       /* and that became of their recipients: */
	uint32_t    states_n;           /* so many; the others are of what is over */
	unsigned    tries;              /* to read the segment, that found it */
	bool        partly;             /* readable only in part */
	struct buf  bytes;              /* of the new one; none: not known yet */
	bool        put, placed;
	char        aside[SPOOL_NAME_MAX];      /* the old one's name from now on; "": there was none */
	mono_us_t   retry_at;
	struct err  err;                /* why it is not there yet */
};

static struct spool_renewal *
renewal_new(struct spool_segment *segment)
{
	struct spool_renewal *renewal = mem_alloc(sizeof(*renewal));

	buf_init(&renewal->bytes, 0);
	segment->renewal = renewal;
	segment->core->renewals_n++;
	spool_segment_dirty(segment);
	return renewal;
}

void
spool_renewal_end(struct spool_segment *segment)
{
	struct spool_renewal *renewal = segment->renewal;

	if (!renewal)
		return;
	segment->renewal = NULL;
	segment->core->renewals_n--;
	free(renewal->live);
	free(renewal->places);
	spool_notes_fini(&renewal->notes);
	buf_fini(&renewal->bytes);
	free(renewal);
}

void
spool_renew(struct spool_segment *segment, int sys)
{
	struct spool_renewal *renewal = renewal_new(segment);
	char name[SPOOL_NAME_MAX];

	spool_segment_name(segment, ".jnl", name);
	err_set(&renewal->err, ERR_TEMP, "spool: %s cannot be written: %s", name, strerror(sys));
	renewal->err.sys = sys;
	log_error(segment->core->log, "%s; a new one is to take its place", renewal->err.text);
}

const struct err *
spool_renewal_err(const struct spool_renewal *renewal)
{
	return &renewal->err;
}

/* ---- what it begins with ---- */

static void
live_add(struct spool_renewal *renewal, const struct spool_message *message, const struct spool_rcpt_state *states)
{
	if (renewal->live_n == renewal->live_cap) {
		renewal->live_cap = renewal->live_cap ? 2 * renewal->live_cap : 64;
		renewal->live = mem_grow(renewal->live, renewal->live_cap * sizeof(*renewal->live));
		renewal->places = mem_grow(renewal->places, renewal->live_cap * sizeof(*renewal->places));
	}
	renewal->places[renewal->live_n] = message->at;
	renewal->live[renewal->live_n++] = message->id;
	for (unsigned i = 0; i < message->rcpts_n; i++) {
		struct spool_note note = { .id = message->id, .rcpt = (uint16_t)i, .state = states[i] };
		if (states[i].outcome != SPOOL_WAITING || states[i].attempts || states[i].due.ms)
			spool_notes_add(&renewal->notes, &note);
	}
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
gather(struct spool_segment *segment)
{
	struct spool_renewal *renewal = segment->renewal;
	struct spool_owner *owner = &segment->core->owner;

	list_each (pos, &segment->messages) {
		const struct spool_message *message = list_entry(pos, struct spool_message, in_segment);
		struct spool_rcpt_state *states = mem_alloc(message->rcpts_n * sizeof(*states));

		owner->on_states(owner->ctx, message, states);
		live_add(renewal, message, states);
		free(states);
	}
	if (renewal->live_n) {
		qsort(renewal->live, renewal->live_n, sizeof(*renewal->live), by_number);
		qsort(renewal->places, renewal->live_n, sizeof(*renewal->places), by_number);
	}
	renewal->states_n = renewal->notes.n;
	renewal->synced = segment->synced;
	renewal->gathered = true;
}

/* What is not live may be what nobody could read: then it is left as it is. */
static void
say_record(struct spool_segment *segment, const struct spool_record *record, uint64_t *place)
{
	struct spool_renewal *renewal = segment->renewal;
	struct spool_message_parts parts;

	if (record->at >= *place + PLACES_APART) {
		*place = record->at;
		spool_record_synced(&renewal->bytes, segment->number, 1, 0, record->at);
	}
	if (segment->unread || record->kind != SPOOL_MESSAGE || !spool_record_parts(record->payload, record->at, &parts) ||
	    spool_number_among(renewal->live, renewal->live_n, parts.id))
		return;
	spool_notes_add(&renewal->notes, &(struct spool_note){ .id = parts.id, .state = { .outcome = SPOOL_MOVED } });
}

/* Behind what is bad; false: nowhere. */
static bool
go_on(struct spool_renewal *renewal, struct spool_scan *scan)
{
	uint64_t place = spool_place_behind(renewal->places, renewal->live_n, scan->bad_to ? scan->bad_to - 1 : scan->at);
	uint64_t to = scan->beyond && scan->beyond <= place ? scan->beyond : place;

	renewal->partly = renewal->partly || scan->bad_to;
	if (to > scan->size)
		return false;
	spool_scan_seek(scan, to);
	return true;
}

/* What cannot be read now is not over, for the next start. */
static bool
say_records(struct spool_segment *segment, struct err *err)
{
	const struct disk_ops *ops = segment->core->disk->ops;
	struct spool_renewal *renewal = segment->renewal;
	struct spool_record record;
	struct spool_scan scan;
	struct disk_file *file;
	enum spool_step step;
	uint64_t size, place = 0;
	char name[SPOOL_NAME_MAX];

	spool_segment_name(segment, ".seg", name);
	file = spool_file_open(segment->core->disk, name, &size, err);
	if (!file) {
		renewal->partly = spool_is_unreadable(err);
		return renewal->partly;
	}
	spool_scan_init(&scan, ops, file, segment->number, (uint64_t)min_i64((int64_t)size, (int64_t)renewal->synced));
	while ((step = spool_scan_next(&scan, &record, err)) == SPOOL_STEP_RECORD || step == SPOOL_STEP_BAD) {
		if (step == SPOOL_STEP_RECORD)
			say_record(segment, &record, &place);
		else if (!go_on(renewal, &scan))
			break;
	}
	spool_scan_fini(&scan);
	ops->close(file);
	return step != SPOOL_STEP_ERROR;
}

/* It takes its place when all of it is durable, so its end is of a later round than the rest: what is lost of that is damage. */
static void
say_the_last(struct spool_segment *segment)
{
	struct spool_renewal *renewal = segment->renewal;

	spool_record_notes(&renewal->bytes, segment->number, 1, 0, renewal->notes.v, renewal->notes.n);
	spool_record_synced(&renewal->bytes, segment->number, LAST_ROUND, 0, renewal->synced);
}

static void
say_nothing(struct spool_renewal *renewal)
{
	buf_clear(&renewal->bytes);
	renewal->notes.n = renewal->states_n;
}

static bool
say(struct spool_segment *segment)
{
	struct spool_renewal *renewal = segment->renewal;
	struct buf *bytes = &renewal->bytes;

	if (buf_len(bytes) > 0)
		return true;
	renewal->partly = false;
	spool_record_journal_start(bytes, segment->number, 0);
	for (size_t i = 0; i < renewal->live_n; i++)
		spool_record_synced(bytes, segment->number, 1, 0, renewal->places[i]);
	if (!say_records(segment, &renewal->err) || (renewal->partly && ++renewal->tries < READ_TRIES)) {
		say_nothing(renewal);
		return false;
	}
	say_the_last(segment);
	return true;
}

static void
say_again(struct spool_recovery *r, struct spool_segment *segment, size_t heard_from)
{
	struct spool_renewal *renewal = segment->renewal;
	struct buf *bytes = &renewal->bytes;

	renewal->gathered = true;
	renewal->synced = segment->end;
	spool_record_journal_start(bytes, segment->number, 0);
	for (size_t i = 0; i < r->places_n; i++)
		spool_record_synced(bytes, segment->number, 1, 0, r->places[i]);
	for (size_t i = heard_from; i < r->heard_n; i++) {
		if (!r->heard[i].in_record)
			spool_notes_add(&renewal->notes, &r->heard[i].note);
	}
	say_the_last(segment);
}

/* ---- its place ---- */

static bool
take_place(struct spool_segment *segment)
{
	struct disk *disk = segment->core->disk;
	struct spool_renewal *renewal = segment->renewal;
	struct err *err = &renewal->err;
	char name[SPOOL_NAME_MAX], fresh[SPOOL_NAME_MAX];
	bool there, fresh_there;

	spool_segment_name(segment, ".jnl", name);
	spool_segment_name(segment, SPOOL_RENEWED, fresh);
	renewal->put = renewal->put || spool_file_put(disk, fresh, buf_span(&renewal->bytes), err);
	if (!renewal->put || !spool_name_is_there(disk, fresh, &fresh_there, err) || !spool_name_is_there(disk, name, &there, err))
		return false;
	/* The last try renamed it, and failed to make that durable. */
	if (!fresh_there)
		return disk->ops->rename(disk, name, name, err);
	return (!there || spool_set_aside(disk, name, renewal->aside, err)) && disk->ops->rename(disk, fresh, name, err);
}

static void
renew_work(struct spool_core *core)
{
	struct spool_segment *segment = core->renewing;
	struct spool_renewal *renewal = segment->renewal;

	if (segment->journal)
		core->disk->ops->close(segment->journal);
	segment->journal = NULL;
	renewal->placed = say(segment) && take_place(segment);
	/* It may have been all of the disk that failed. */
	if (renewal->partly && !renewal->put)
		say_nothing(renewal);
}

static void
renew_done(struct spool_core *core)
{
	struct spool_segment *segment = core->renewing;
	struct spool_renewal *renewal = segment->renewal;
	char name[SPOOL_NAME_MAX];

	core->renewing = NULL;
	renewal->retry_at = core->now + SPOOL_RETRY_US;
	if (!renewal->placed)
		return;
	spool_segment_name(segment, ".jnl", name);
	if (renewal->aside[0])
		log_warning(core->log, "spool: what is known of the damaged %s is taken; it is set aside as %s",
			    name, renewal->aside);
	if (renewal->partly)
		log_error(core->log, "spool: %.16s.seg cannot be read whole now: after a restart some of it may be sent again", name);
	segment->journal_end = segment->journal_synced = segment->journal_bytes = buf_len(&renewal->bytes);
	segment->journal_ahead = 0;
	segment->journal_round = LAST_ROUND + 1;
	segment->journal_bad = false;
	segment->journal_fails = 0;
	if (segment->marked < renewal->synced)
		segment->marked = renewal->synced;
	spool_renewal_end(segment);
	core->probe_due = core->failing.kind != ERR_NONE;
}

void
spool_journal_renew(struct spool_recovery *r, struct spool_segment *segment, size_t heard_from)
{
	struct spool_core *core = segment->core;

	if (core->look)
		return;
	segment->journal_damaged = false;
	renewal_new(segment);
	say_again(r, segment, heard_from);
	core->renewing = segment;
	renew_work(core);
	renew_done(core);
	if (segment->renewal)
		log_error(core->log, "%s; until it can be written, new mail is refused, and what becomes of the mail in its segment is not written down",
			  segment->renewal->err.text);
}

/* No message of it is on its way. */
static bool
is_at_rest(struct spool_segment *segment)
{
	return !segment->tickets && spool_compact_stop(segment);
}

static bool
is_due(struct spool_segment *segment)
{
	struct spool_core *core = segment->core;
	struct spool_renewal *renewal = segment->renewal;

	return renewal && segment != core->removing && renewal->retry_at <= core->now && (renewal->gathered || is_at_rest(segment));
}

bool
spool_renew_start(struct spool_core *core)
{
	if (!core->renewals_n)
		return false;
	list_each (pos, &core->segments) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, link);

		if (!is_due(segment))
			continue;
		if (!segment->renewal->gathered)
			gather(segment);
		core->renewing = segment;
		spool_job_run(core, renew_work, renew_done);
		return true;
	}
	return false;
}

/* How messages stand is not asked any more. */
void
spool_renew_last(struct spool_core *core)
{
	list_each (pos, &core->segments) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, link);

		if (!segment->renewal || !segment->renewal->gathered || segment == core->removing)
			continue;
		core->renewing = segment;
		renew_work(core);
		renew_done(core);
	}
}
