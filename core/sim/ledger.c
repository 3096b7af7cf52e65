/*
 * ledger - texts are kept once and numbered. What differs from record to record
 * (who, what was said, when) stands in the record; the rest, the same for all
 * that one session did, is a shape, kept once too.
 *
 * But recipients: a million of them would make every look-up a walk through cold
 * memory, and a text with its place in the table is as large as two of the text.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/ledger.h"

#include <stdlib.h>

#include "util/arena.h"
#include "util/table.h"

#define HASH_SEED 1u            /* nobody attacks a simulation, and it replays */

struct text {
	uint32_t number;
	uint32_t n;
	char     bytes[];
};

struct shape {                  /* numbers of texts, and the type */
	uint32_t type;
	uint32_t orig, orcpt, status, category, mta, src_type, src_mta;
	uint32_t source_ip, destination_ip, esmtp, vmta, job, queue, pool;
};

struct known_shape {
	uint32_t     number;
	struct shape shape;
};

struct entry {
	int64_t  logged_ms, queued_ms;
	uint64_t size_bytes;
	uint32_t rcpt, diag, env_id, shape;
};

#define COLUMNS 16
#define RECENT  8u              /* of a column; a text has its place by a few of its bytes */
#define TYPES   (ACCOUNT_RECEIVED + 1)

struct ledger {
	struct arena  arena;
	struct last {                           /* of a type's last records: most columns repeat one of a few */
		const struct text *texts[COLUMNS][RECENT];
		const struct known_shape *shapes[RECENT];
	} last[TYPES];
	struct table  texts, shapes;
	const struct text **by_number;
	uint32_t      texts_n;
	size_t        texts_cap;
	const struct known_shape **shapes_by_number;
	size_t        shapes_cap;
	struct entry *entries;
	size_t        entries_n, entries_cap;
};

/* Room for one more behind n. */
static void *
grown(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap > 0 ? *cap + *cap / 2 : 64;
	return mem_grow(p, *cap * size);
}

static struct text *
keep(struct ledger *ledger, struct span span)
{
	struct text *text = arena_alloc(&ledger->arena, sizeof *text + span.n);

	text->number = ledger->texts_n++;
	text->n = (uint32_t)span.n;
	if (span.n > 0)
		memcpy(text->bytes, span.p, span.n);
	ledger->by_number = grown(ledger->by_number, text->number, &ledger->texts_cap, sizeof *ledger->by_number);
	ledger->by_number[text->number] = text;
	return text;
}

static const struct text *
intern(struct ledger *ledger, struct span span)
{
	struct text *text = table_get(&ledger->texts, span);

	if (text != NULL)
		return text;
	text = keep(ledger, span);
	table_put(&ledger->texts, span_make(text->bytes, text->n), text);
	return text;
}

static uint32_t
number_of(struct ledger *ledger, const struct text *recent[RECENT], struct span span)
{
	const struct text **last;

	if (span.n == 0)
		return 0;
	last = &recent[(unsigned char)(span.p[0] + span.p[span.n / 8] + span.p[span.n - 1]) % RECENT];
	if (*last == NULL || (*last)->n != span.n || memcmp((*last)->bytes, span.p, span.n) != 0)
		*last = intern(ledger, span);
	return (*last)->number;
}

static uint32_t
intern_shape(struct ledger *ledger, const struct shape *shape)
{
	const struct known_shape **last = &ledger->last[shape->type].shapes[shape->mta % RECENT];
	struct known_shape *known;

	if (*last != NULL && memcmp(&(*last)->shape, shape, sizeof *shape) == 0)
		return (*last)->number;
	known = table_get(&ledger->shapes, span_make(shape, sizeof *shape));
	if (known != NULL) {
		*last = known;
		return known->number;
	}
	known = arena_alloc(&ledger->arena, sizeof *known);
	known->number = ledger->shapes.n;
	known->shape = *shape;
	ledger->shapes_by_number =
		grown(ledger->shapes_by_number, known->number, &ledger->shapes_cap, sizeof *ledger->shapes_by_number);
	ledger->shapes_by_number[known->number] = known;
	table_put(&ledger->shapes, span_make(&known->shape, sizeof known->shape), known);
	return known->number;
}

struct ledger *
ledger_new(void)
{
	struct ledger *ledger = mem_alloc(sizeof *ledger);

	arena_init(&ledger->arena);
	table_init(&ledger->texts, HASH_SEED);
	table_init(&ledger->shapes, HASH_SEED);
	intern(ledger, SPAN(""));               /* number 0 */
	return ledger;
}

void
ledger_free(struct ledger *ledger)
{
	if (ledger == NULL)
		return;
	table_fini(&ledger->texts);
	table_fini(&ledger->shapes);
	arena_fini(&ledger->arena);
	free(ledger->by_number);
	free(ledger->shapes_by_number);
	free(ledger->entries);
	free(ledger);
}

void
ledger_add(struct ledger *ledger, const struct account_record *r)
{
	const struct text *(*last)[RECENT] = ledger->last[r->type].texts;
	struct shape shape = {
		.type = r->type,
		.orig = number_of(ledger, last[0], r->orig), .orcpt = number_of(ledger, last[1], r->orcpt), .status = number_of(ledger, last[2], r->status),
		.category = number_of(ledger, last[3], r->category), .mta = number_of(ledger, last[4], r->mta),
		.src_type = number_of(ledger, last[5], r->src_type), .src_mta = number_of(ledger, last[6], r->src_mta),
		.source_ip = number_of(ledger, last[7], r->source_ip), .destination_ip = number_of(ledger, last[8], r->destination_ip),
		.esmtp = number_of(ledger, last[9], r->esmtp), .vmta = number_of(ledger, last[10], r->vmta), .job = number_of(ledger, last[11], r->job),
		.queue = number_of(ledger, last[12], r->queue), .pool = number_of(ledger, last[13], r->pool),
	};

	ledger->entries = grown(ledger->entries, ledger->entries_n, &ledger->entries_cap, sizeof *ledger->entries);
	ledger->entries[ledger->entries_n++] = (struct entry){
		.logged_ms = r->logged.ms, .queued_ms = r->queued.ms, .size_bytes = r->size_bytes,
		.rcpt = keep(ledger, r->rcpt)->number, .diag = number_of(ledger, last[14], r->diag), .env_id = number_of(ledger, last[15], r->env_id),
		.shape = intern_shape(ledger, &shape),
	};
}

size_t
ledger_n(const struct ledger *ledger)
{
	return ledger->entries_n;
}

static struct span
text_at(const struct ledger *ledger, uint32_t number)
{
	const struct text *text = ledger->by_number[number];

	return span_make(text->bytes, text->n);
}

void
ledger_read(const struct ledger *ledger, size_t i, struct account_record *out)
{
	const struct entry *e = &ledger->entries[i];
	const struct shape *s = &ledger->shapes_by_number[e->shape]->shape;

	check(i < ledger->entries_n);
	*out = (struct account_record){
		.type = (enum account_type)s->type,
		.logged = { e->logged_ms }, .queued = { e->queued_ms },
		.orig = text_at(ledger, s->orig), .rcpt = text_at(ledger, e->rcpt), .orcpt = text_at(ledger, s->orcpt),
		.status = text_at(ledger, s->status), .diag = text_at(ledger, e->diag),
		.category = text_at(ledger, s->category), .mta = text_at(ledger, s->mta),
		.src_type = text_at(ledger, s->src_type), .src_mta = text_at(ledger, s->src_mta),
		.source_ip = text_at(ledger, s->source_ip), .destination_ip = text_at(ledger, s->destination_ip),
		.esmtp = text_at(ledger, s->esmtp), .size_bytes = e->size_bytes,
		.vmta = text_at(ledger, s->vmta), .job = text_at(ledger, s->job), .env_id = text_at(ledger, e->env_id),
		.queue = text_at(ledger, s->queue), .pool = text_at(ledger, s->pool),
	};
}
