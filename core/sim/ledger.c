/*
 * ledger - texts are kept once and numbered. What differs from record to record
 * (who, what was said, when) stands in the record; the rest, the same for all
 * that one session did, is a shape, kept once too.
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

struct ledger {
	struct arena  arena;
	struct table  texts, shapes;
	const struct text **by_number;
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

static uint32_t
intern(struct ledger *ledger, struct span span)
{
	struct text *text;

	if (span.n == 0)
		span = SPAN("");
	text = table_get(&ledger->texts, span);
	if (text != NULL)
		return text->number;
	text = arena_alloc(&ledger->arena, sizeof *text + span.n);
	text->number = ledger->texts.n;
	text->n = (uint32_t)span.n;
	memcpy(text->bytes, span.p, span.n);
	ledger->by_number = grown(ledger->by_number, text->number, &ledger->texts_cap, sizeof *ledger->by_number);
	ledger->by_number[text->number] = text;
	table_put(&ledger->texts, span_make(text->bytes, text->n), text);
	return text->number;
}

static uint32_t
intern_shape(struct ledger *ledger, const struct shape *shape)
{
	struct known_shape *known = table_get(&ledger->shapes, span_make(shape, sizeof *shape));

	if (known != NULL)
		return known->number;
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
	struct shape shape = {
		.type = r->type,
		.orig = intern(ledger, r->orig), .orcpt = intern(ledger, r->orcpt), .status = intern(ledger, r->status),
		.category = intern(ledger, r->category), .mta = intern(ledger, r->mta),
		.src_type = intern(ledger, r->src_type), .src_mta = intern(ledger, r->src_mta),
		.source_ip = intern(ledger, r->source_ip), .destination_ip = intern(ledger, r->destination_ip),
		.esmtp = intern(ledger, r->esmtp), .vmta = intern(ledger, r->vmta), .job = intern(ledger, r->job),
		.queue = intern(ledger, r->queue), .pool = intern(ledger, r->pool),
	};

	ledger->entries = grown(ledger->entries, ledger->entries_n, &ledger->entries_cap, sizeof *ledger->entries);
	ledger->entries[ledger->entries_n++] = (struct entry){
		.logged_ms = r->logged.ms, .queued_ms = r->queued.ms, .size_bytes = r->size_bytes,
		.rcpt = intern(ledger, r->rcpt), .diag = intern(ledger, r->diag), .env_id = intern(ledger, r->env_id),
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
