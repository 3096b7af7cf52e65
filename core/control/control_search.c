/*
 * An address is in the spool and not in memory, so a recipient is first told apart
 * by its domain, which its route knows; only messages with a recipient there are
 * read, some a turn. They are held meanwhile: a message must not be freed under
 * the search, though its mail may leave, and then it has no row. Queues are walked
 * one after the other, by name: what moves to one that was walked is not seen.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_search.h"

#include "queue/queue_hand.h"

#define ID_DIGITS       16
#define WORK_OF_A_READ  16      /* units, where a row of `queues` is one */
#define RCPTS_A_UNIT    64      /* passed by in about the time of such a row */

struct candidate {
	struct message *message;        /* held */
	uint16_t        rcpt;
};

struct search {
	struct control_stream stream;
	struct shards *shards;
	struct queues *in;              /* whose queue was walked last */
	struct arena   names;           /* of the queues, */
	struct span   *all;
	unsigned       all_n, all_cap, walked;
	char           what[400];       /* an address; "": an id */
	char           domain[DOMAIN_MAX];
	uint64_t       id;
	struct candidate *candidates;
	size_t         n, cap, next;
	unsigned       found;
	bool           begun;
};

static bool
parse_id(struct span what, uint64_t *id_out)
{
	*id_out = 0;
	for (size_t i = 0; i < what.n; i++) {
		char c = what.p[i];
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
			       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a') + 10 : 16;

		if (digit == 16)
			return false;
		*id_out = *id_out << 4 | digit;
	}
	return what.n == ID_DIGITS;
}

bool
control_search_fits(struct span what)
{
	uint64_t id;

	return parse_id(what, &id) || (span_find(what, '@') != SIZE_MAX && span_find(what, '/') == SIZE_MAX);
}

static void
consider(void *ctx, const struct rcpt *rcpt)
{
	struct search *search = ctx;

	if (search->what[0] ? strcmp(rcpt->route->name, search->domain) != 0 : rcpt->message->spool.id != search->id)
		return;
	if (search->n == search->cap) {
		search->cap = search->cap ? 2 * search->cap : 64;
		search->candidates = mem_grow(search->candidates, search->cap * sizeof *search->candidates);
	}
	message_hold(rcpt->message);
	search->candidates[search->n++] = (struct candidate){ rcpt->message, rcpt->index };
}

static void
note_name(void *ctx, struct queue *queue)
{
	struct search *search = ctx;

	if (search->all_n == search->all_cap) {
		search->all_cap = search->all_cap ? 2 * search->all_cap : 64;
		search->all = mem_grow(search->all, search->all_cap * sizeof *search->all);
	}
	search->all[search->all_n++] = arena_span(&search->names, span_text(queue->name));
}

/* Oldest first: ids grow. */
static int
order(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->message->spool.id != y->message->spool.id)
		return x->message->spool.id < y->message->spool.id ? -1 : 1;
	return (x->rcpt > y->rcpt) - (x->rcpt < y->rcpt);
}

static const char *
state_of(const struct rcpt *rcpt)
{
	static const char *const names[] = {
		[RCPT_ROUTING] = "routing", [RCPT_READY] = "ready", [RCPT_DEFERRED] = "deferred",
		[RCPT_SENDING] = "sending", [RCPT_HELD] = "paused", [RCPT_OVER] = "over",
	};

	return names[rcpt->state];
}

static const char *
gate_of(const struct queue *queue, mono_us_t now)
{
	struct gate_answer gates;

	gate_decide(queue, now, &gates);
	return gates.open ? NULL : gate_name(gates.binding.gate);
}

static json_t *
span_text_of(struct span text)
{
	char *copy = mem_strndup(text.p, text.n);
	json_t *value = control_answer_text(copy);

	free(copy);
	return value;
}

static json_t *
row_of(const struct rcpt *rcpt, const struct envelope *envelope, mono_us_t now)
{
	char id[17];

	envelope_id_format(rcpt->message->spool.id, id);
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:i, s:o, s:s?}",
			 "message", id,
			 "recipient", span_text_of(envelope->rcpts[rcpt->index].address),
			 "sender", span_text_of(envelope->sender),
			 "queue", control_answer_text(rcpt->queue->name),
			 "state", state_of(rcpt),
			 "since", control_answer_age(rcpt->message->accepted, now),
			 "due", rcpt->state == RCPT_DEFERRED ? control_answer_until(rcpt->due.key, now) : json_null(),
			 "attempts", (int)rcpt->attempts,
			 "job", control_answer_text(rcpt->message->job->name[0] ? rcpt->message->job->name : NULL),
			 "gate", gate_of(rcpt->queue, now));
}

/* NULL: its mail has left, it cannot be read, or it is somebody else. */
static json_t *
look(struct search *search, const struct candidate *candidate, mono_us_t now)
{
	const struct rcpt *rcpt = &candidate->message->rcpts[candidate->rcpt];
	struct spool_reader reader = { 0 };
	struct envelope envelope;
	struct arena arena;
	struct err err = { 0 };
	json_t *row = NULL;

	if (rcpt->state == RCPT_OVER || !spool_read_open(search->in->o.spool, &candidate->message->spool, &reader, &err))
		return NULL;
	arena_init(&arena);
	if (envelope_decode(reader.meta, &arena, &envelope, &err) && rcpt->index < envelope.rcpts_n &&
	    (!search->what[0] || span_eq_nocase(envelope.rcpts[rcpt->index].address, span_text(search->what))))
		row = row_of(rcpt, &envelope, now);
	arena_fini(&arena);
	spool_read_close(&reader);
	return row;
}

/* The next queue's recipients that may be meant; what that was in units. */
static unsigned
walk_next(struct search *search)
{
	struct queue *queue = shards_find_queue(search->shards, search->all[search->walked++]);

	if (queue == NULL)
		return 1;
	search->n = search->next = 0;
	search->in = queue->queues;
	queue_each(queue, consider, search);
	if (search->n > 0)
		qsort(search->candidates, search->n, sizeof *search->candidates, order);
	return 1 + queue_n(queue) / RCPTS_A_UNIT;
}

static unsigned
look_next(struct search *search, mono_us_t now, struct buf *out)
{
	struct candidate *candidate = &search->candidates[search->next++];
	json_t *row = look(search, candidate, now);

	message_unhold(search->in, candidate->message);
	if (row == NULL)
		return WORK_OF_A_READ;
	if (search->found++ > 0)
		buf_add_char(out, ',');
	control_answer_write(row, out);
	return WORK_OF_A_READ;
}

static bool
search_next(struct control_stream *stream, unsigned work_max, struct now now, struct buf *out)
{
	struct search *search = container_of(stream, struct search, stream);
	unsigned work = 0;

	if (!search->begun)
		buf_add_text(out, "{\"ok\":true,\"result\":[");
	search->begun = true;
	while (search->found < CONTROL_FOUND_MAX && (search->next < search->n || search->walked < search->all_n)) {
		if (work >= work_max)
			return true;
		work += search->next < search->n ? look_next(search, now.mono, out) : walk_next(search);
	}
	buf_add_text(out, "]}\n");
	return false;
}

static void
search_free(struct control_stream *stream)
{
	struct search *search = container_of(stream, struct search, stream);

	for (size_t i = search->next; i < search->n; i++)
		message_unhold(search->in, search->candidates[i].message);
	free(search->candidates);
	free(search->all);
	arena_fini(&search->names);
	free(search);
}

struct control_stream *
control_search_new(struct shards *shards, struct span what)
{
	struct search *search = mem_alloc(sizeof *search);
	const char *at = memrchr(what.p, '@', what.n);
	struct err err = { 0 };

	search->stream = (struct control_stream){ search_next, search_free };
	search->shards = shards;
	if (at != NULL) {
		snprintf(search->what, sizeof search->what, "%.*s", SPAN_ARG(what));
		/* What is no domain is nobody's: nothing will be found. */
		domain_normalize(span_from(what, (size_t)(at + 1 - what.p)), search->domain, &err);
	} else {
		parse_id(what, &search->id);
	}
	arena_init(&search->names);
	for (unsigned i = 0; i < shards->n; i++)
		queues_match(shards->all[i]->queues, SPAN("*"), note_name, search);
	return &search->stream;
}
