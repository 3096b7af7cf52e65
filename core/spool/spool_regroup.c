/*
 * Messages out of what recovery read: all copies and notes of one id meet.
 *
 * A copy that its own journal calls moved does not count; of what is left the latest
 * does (a compaction was cut short). Ends count wherever they were noted, and no later
 * state takes one back. Whatever held only because of another segment's journal is
 * noted again in this one's, so that either may go.
 *
 * Only one message's meta is in memory at a time: it is read again when told.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_recover.h"

static int
copy_order(const void *a, const void *b)
{
	const struct spool_copy *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	if (x->segment->number != y->segment->number)
		return x->segment->number < y->segment->number ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static int
heard_order(const void *a, const void *b)
{
	const struct spool_heard *x = a, *y = b;

	if (x->note.id != y->note.id)
		return x->note.id < y->note.id ? -1 : 1;
	if (x->segment->number != y->segment->number)
		return x->segment->number < y->segment->number ? -1 : 1;
	if (x->in_record != y->in_record)
		return x->in_record ? -1 : 1;
	return x->i < y->i ? -1 : x->i > y->i;
}

static bool
is_end(const struct spool_rcpt_state *state)
{
	return state->outcome != SPOOL_WAITING;
}

/* The copy that counts, or NULL. The others are noted as moved, in case they outlive it. */
static struct spool_copy *
choose(struct spool_copy *copies, size_t n, const struct spool_heard *heard, size_t heard_n)
{
	struct spool_copy *chosen = NULL;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < heard_n; k++) {
			if (heard[k].note.state.outcome == SPOOL_MOVED && heard[k].segment == copies[i].segment)
				copies[i].moved = true;
		}
		if (!copies[i].moved)
			chosen = &copies[i];
	}
	for (size_t i = 0; chosen && i < n; i++) {
		struct spool_note moved = { .id = copies[i].id, .state = { .outcome = SPOOL_MOVED } };
		if (&copies[i] == chosen || copies[i].moved || copies[i].segment == chosen->segment)
			continue;
		spool_segment_note(copies[i].segment, &moved);
		copies[i].segment->moves = chosen->segment->moves = true;
	}
	return chosen;
}

static void
apply(struct spool_recovery *r, const struct spool_copy *chosen, const struct spool_heard *heard, size_t n)
{
	for (unsigned i = 0; i < chosen->rcpts_n; i++) {
		r->states[i] = (struct spool_rcpt_state){ 0 };
		r->from[i] = NULL;
	}
	for (size_t k = 0; k < n; k++) {
		const struct spool_note *note = &heard[k].note;
		if (note->state.outcome == SPOOL_MOVED || note->rcpt >= chosen->rcpts_n ||
		    (is_end(&r->states[note->rcpt]) && !is_end(&note->state)))
			continue;
		r->states[note->rcpt] = note->state;
		r->from[note->rcpt] = heard[k].segment;
	}
	for (unsigned i = 0; i < chosen->rcpts_n; i++) {
		struct spool_note note = { .id = chosen->id, .rcpt = (uint16_t)i, .state = r->states[i] };
		if (!r->from[i] || r->from[i] == chosen->segment)
			continue;
		spool_segment_note(chosen->segment, &note);
		chosen->segment->moves = r->from[i]->moves = true;
	}
}

static void
open_close(struct spool_recovery *r)
{
	if (r->open && r->open->read_file) {
		r->core->disk->ops->close(r->open->read_file);
		r->open->read_file = NULL;
	}
}

/* *lost_out: the disk does not even open it any more, which is said once. */
static bool
open_again(struct spool_recovery *r, struct spool_segment *segment, bool *lost_out, struct err *err)
{
	struct err trouble = { 0 };

	*lost_out = r->open == segment && !segment->read_file;
	if (r->open == segment)
		return true;
	open_close(r);
	r->open = segment;
	if (spool_segment_readable(segment, &trouble) ||
	    (spool_is_unreadable(&trouble) && spool_segment_readable(segment, &trouble)))
		return true;
	*lost_out = spool_is_unreadable(&trouble);
	if (*lost_out)
		spool_file_lost(segment, ".seg");
	else
		*err = trouble;
	return *lost_out;
}

/* *why_out: it stands where nothing can be read. */
static bool
meta_read(struct spool_recovery *r, const struct spool_copy *copy, const char **why_out, struct err *err)
{
	const struct disk_ops *ops = r->core->disk->ops;
	uint64_t bad_to;
	size_t got;
	char *room;

	buf_clear(&r->meta);
	room = buf_grow(&r->meta, copy->meta_bytes);
	check(room != NULL);
	if (!spool_read_some(ops, copy->segment->read_file, copy->meta_at, room, copy->meta_bytes, &got, &bad_to, err))
		return false;
	buf_grow_commit(&r->meta, got);
	*why_out = bad_to ? SPOOL_UNREADABLE : NULL;
	return bad_to || got == copy->meta_bytes || err_set(err, ERR_TEMP, "spool: a segment shrank while it was read");
}

static bool
tell(struct spool_recovery *r, const struct spool_copy *copy, struct err *err)
{
	struct spool_core *core = r->core;
	struct spool_recovered recovered = { .id = copy->id, .segment = copy->segment->number, .at = copy->at,
					     .size_bytes = copy->size_bytes, .rcpts_n = copy->rcpts_n, .rcpts = r->states };
	struct spool_message *message;
	const char *why;
	uint16_t live = 0;
	bool lost;

	for (unsigned i = 0; i < copy->rcpts_n; i++)
		live += !is_end(&r->states[i]);
	if (live == 0)
		return true;
	if (!open_again(r, copy->segment, &lost, err))
		return false;
	r->core->unread += lost;
	if (lost)
		return true;
	if (!meta_read(r, copy, &why, err))
		return false;
	recovered.meta = buf_span(&r->meta);
	message = why ? NULL : core->owner.on_recovered(core->owner.ctx, &recovered);
	if (!message) {
		spool_message_lost(r, copy, why ? why : "its sum is right, but what was kept there of a message makes no sense");
		return true;
	}
	*message = (struct spool_message){
		.id = copy->id, .at = copy->at, .all_bytes = copy->all_bytes, .record_bytes = copy->record_bytes,
		.rcpts_n = copy->rcpts_n, .live = live,
	};
	spool_segment_link(copy->segment, message);
	return true;
}

static bool
groups_tell(struct spool_recovery *r, struct err *err)
{
	size_t k = 0, k_end, i = 0, i_end;

	qsort(r->copies, r->copies_n, sizeof(*r->copies), copy_order);
	qsort(r->heard, r->heard_n, sizeof(*r->heard), heard_order);
	for (; i < r->copies_n; i = i_end, k = k_end) {
		uint64_t id = r->copies[i].id;
		struct spool_copy *chosen;

		for (i_end = i; i_end < r->copies_n && r->copies[i_end].id == id; i_end++)
			;
		while (k < r->heard_n && r->heard[k].note.id < id)
			k++;
		for (k_end = k; k_end < r->heard_n && r->heard[k_end].note.id == id; k_end++)
			;
		chosen = choose(&r->copies[i], i_end - i, r->heard + k, k_end - k);
		if (!chosen)
			continue;
		apply(r, chosen, r->heard + k, k_end - k);
		if (!tell(r, chosen, err))
			return false;
	}
	return true;
}

bool
spool_regroup(struct spool_recovery *r, struct err *err)
{
	bool ok;

	r->states = mem_alloc((UINT16_MAX + 1u) * sizeof(*r->states));
	r->from = mem_alloc((UINT16_MAX + 1u) * sizeof(*r->from));
	buf_init(&r->meta, 0);
	ok = groups_tell(r, err);
	open_close(r);
	free(r->states);
	free(r->from);
	buf_fini(&r->meta);
	return ok;
}
