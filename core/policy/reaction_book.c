/*
 * Most queues see one part. Where parts follow one another, the list is made when
 * it is first asked for, under a lock: there are few, and nobody can say beforehand
 * which domains will be asked about.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/reaction_book.h"

#include <pthread.h>

#include "policy/grow.h"
#include "policy/setting.h"

#define HASH_SEED   UINT64_C(0x736c75696365)
#define NAMES_MAX   2000                /* that a nearest one is looked for in */

struct reaction_book {
	struct arena *arena;
	struct reaction_part **parts;
	unsigned parts_n;
	struct pattern **patterns;
	unsigned patterns_n;
	struct table patterns_by_text;
	struct table names;
	pthread_mutex_t lock;           /* of what follows */
	struct arena lists_arena;
	struct table lists;             /* by the addresses of their parts */
};

struct reaction_book *
reaction_book_new(struct arena *arena)
{
	struct reaction_book *book = mem_alloc(sizeof(*book));
	book->arena = arena;
	table_init(&book->patterns_by_text, HASH_SEED);
	table_init(&book->names, HASH_SEED);
	table_init(&book->lists, HASH_SEED);
	arena_init(&book->lists_arena);
	check(pthread_mutex_init(&book->lock, NULL) == 0);
	return book;
}

void
reaction_book_free(struct reaction_book *book)
{
	if (!book)
		return;
	for (unsigned i = 0; i < book->patterns_n; i++)
		pattern_free(book->patterns[i]);
	table_fini(&book->patterns_by_text);
	table_fini(&book->names);
	table_fini(&book->lists);
	arena_fini(&book->lists_arena);
	pthread_mutex_destroy(&book->lock);
	free(book);
}

const struct pattern *
reaction_book_pattern(struct reaction_book *book, struct span text, struct err *err)
{
	struct pattern *there = table_get(&book->patterns_by_text, text);
	if (there)
		return there;
	struct pattern *pattern = pattern_compile(text, err);
	if (!pattern)
		return NULL;
	*GROW(book->arena, book->patterns, book->patterns_n) = pattern;
	table_put(&book->patterns_by_text, text, pattern);
	return pattern;
}

/* A rule that says nothing of stages looks at replies, not at local failures. */
uint32_t
reaction_stages(const struct reaction *reaction)
{
	uint32_t all = (1u << REACTION_STAGES) - 1;
	return reaction->stages ? reaction->stages : all & ~(1u << SMTP_STAGE_CONNECT);
}

static void
add_stages(struct reaction_book *book, struct reaction_part *part)
{
	for (unsigned stage = 0; stage < REACTION_STAGES; stage++) {
		uint64_t *rules = arena_alloc(book->arena, (REACTION_WORDS(part->n) + 1) * sizeof(*rules));
		for (unsigned i = 0; i < part->n; i++)
			if (reaction_stages(&part->reactions[i]) >> stage & 1)
				rules[i / 64] |= UINT64_C(1) << i % 64;
		part->at_stage[stage] = rules;
	}
}

const struct reaction_part *
reaction_book_add(struct reaction_book *book, const struct reaction_part *from)
{
	struct reaction_part *part = arena_alloc(book->arena, sizeof(*part));
	*part = *from;
	struct literals *literals = mem_alloc((part->n + 1) * sizeof(*literals));
	for (unsigned i = 0; i < part->n; i++) {
		struct span name = span_text(part->reactions[i].name);
		literal_extract(span_text(part->reactions[i].pattern), &literals[i]);
		if (!table_get(&book->names, name))
			table_put(&book->names, name, &part->reactions[i]);
	}
	part->filter = reaction_filter_new(book->arena, literals, part->n);
	free(literals);
	add_stages(book, part);
	part->itself = part;
	part->alone = (struct reaction_list){ &part->itself, 1 };
	*GROW(book->arena, book->parts, book->parts_n) = part;
	return part;
}

const struct reaction_list *
reaction_book_list(struct reaction_book *book, const struct reaction_part *const *parts, unsigned n)
{
	if (n == 0)
		return NULL;
	if (n == 1)
		return &parts[0]->alone;
	struct span key = span_make(parts, n * sizeof(*parts));
	check(pthread_mutex_lock(&book->lock) == 0);
	struct reaction_list *list = table_get(&book->lists, key);
	if (!list) {
		list = arena_alloc(&book->lists_arena, sizeof(*list));
		key = arena_span(&book->lists_arena, key);
		*list = (struct reaction_list){ (const void *)key.p, n };
		table_put(&book->lists, key, list);
	}
	check(pthread_mutex_unlock(&book->lock) == 0);
	return list;
}

unsigned
reaction_book_parts_n(const struct reaction_book *book)
{
	return book->parts_n;
}

const struct reaction_part *
reaction_book_part(const struct reaction_book *book, unsigned i)
{
	check(i < book->parts_n);
	return book->parts[i];
}

bool
reaction_book_has(const struct reaction_book *book, struct span name)
{
	return table_get(&book->names, name) != NULL;
}

const char *
reaction_book_nearest(const struct reaction_book *book, struct span name)
{
	const char *words[NAMES_MAX];
	unsigned n = 0;
	uint32_t at = 0;
	for (const struct reaction *reaction; n < NAMES_MAX && (reaction = table_next(&book->names, &at)) != NULL;)
		words[n++] = reaction->name;
	return setting_nearest(name, words, n);
}
