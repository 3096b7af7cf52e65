/*
 * Each literal is known by three bytes of it, its gram: the one that the fewest
 * other literals of the list hold too, so that five hundred rules that begin with
 * "421 4.7." don't all answer to "421". The pass looks up each three bytes of the
 * line, first in a bitmap that fits a few cache lines, then in a hash table; where
 * a gram is known, the whole literal is compared. That costs about the same for
 * 5 rules and for 500. An automaton (Aho-Corasick) would promise a bound for
 * literals chosen by an enemy; these are the operator's, and it is a hundred times
 * the memory.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/reaction_filter.h"

#define GRAM      3
#define GRAM_MASK 0xffffffu
#define BITMAP_BITS 12                  /* 4096 bits, 512 bytes */

_Static_assert(GRAM <= LITERAL_MIN, "each literal has a gram");

struct entry {
	uint32_t       gram;
	uint32_t       rule;
	uint32_t       at;              /* of the gram in the literal */
	struct literal literal;
};

struct reaction_filter {
	unsigned      words;
	const uint64_t *always;         /* rules without a literal */
	struct entry *entries;          /* sorted by gram */
	unsigned      entries_n;
	uint32_t     *slots;            /* a power of two of them: 0, or the first entry of a gram + 1 */
	unsigned      slot_bits;
	uint64_t      bitmap[(1u << BITMAP_BITS) / 64];
};

static uint32_t
hash(uint32_t gram, unsigned bits)
{
	return (gram * 2654435761u) >> (32 - bits);
}

static uint32_t
gram_at(const struct literal *literal, unsigned at)
{
	const unsigned char *p = (const unsigned char *)literal->text + at;
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static int
compare_grams(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static int
compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return x->gram != y->gram ? (x->gram > y->gram) - (x->gram < y->gram) : (x->rule > y->rule) - (x->rule < y->rule);
}

static size_t
uses(const uint32_t *grams, size_t n, uint32_t gram)
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (grams[middle] < gram)
			low = middle + 1;
		else
			high = middle;
	}
	size_t end = low;
	while (end < n && grams[end] == gram && end - low < 1000)
		end++;
	return end - low;
}

static unsigned
rarest(const struct literal *literal, const uint32_t *grams, size_t n)
{
	unsigned best = 0;
	size_t least = SIZE_MAX;
	for (unsigned at = 0; at + GRAM <= literal->n; at++) {
		size_t count = uses(grams, n, gram_at(literal, at));
		if (count < least) {
			least = count;
			best = at;
		}
	}
	return best;
}

/* All grams of all literals, sorted; malloc-ed. */
static uint32_t *
all_grams(const struct literals *literals, unsigned n, size_t *n_out)
{
	size_t count = 0;
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < literals[i].n; j++)
			count += literals[i].literals[j].n - GRAM + 1u;
	uint32_t *grams = mem_alloc((count + 1) * sizeof(*grams));
	*n_out = 0;
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < literals[i].n; j++)
			for (unsigned at = 0; at + GRAM <= literals[i].literals[j].n; at++)
				grams[(*n_out)++] = gram_at(&literals[i].literals[j], at);
	qsort(grams, *n_out, sizeof(*grams), compare_grams);
	return grams;
}

static void
add_entries(struct reaction_filter *filter, const struct literals *literals, unsigned n)
{
	size_t grams_n;
	uint32_t *grams = all_grams(literals, n, &grams_n);
	for (unsigned i = 0; i < n; i++) {
		for (unsigned j = 0; j < literals[i].n; j++) {
			const struct literal *literal = &literals[i].literals[j];
			unsigned at = rarest(literal, grams, grams_n);
			filter->entries[filter->entries_n++] = (struct entry){ gram_at(literal, at), i, at, *literal };
		}
	}
	free(grams);
	if (filter->entries_n)
		qsort(filter->entries, filter->entries_n, sizeof(struct entry), compare_entries);
}

static void
add_slots(struct reaction_filter *filter, struct arena *arena)
{
	for (filter->slot_bits = 1; (1u << filter->slot_bits) < 2 * filter->entries_n;)
		filter->slot_bits++;
	filter->slots = arena_alloc(arena, sizeof(*filter->slots) << filter->slot_bits);
	for (unsigned i = 0; i < filter->entries_n; i++) {
		uint32_t gram = filter->entries[i].gram;
		if (i && filter->entries[i - 1].gram == gram)
			continue;
		uint32_t bit = hash(gram, BITMAP_BITS);
		filter->bitmap[bit / 64] |= UINT64_C(1) << bit % 64;
		uint32_t slot = hash(gram, filter->slot_bits);
		while (filter->slots[slot])
			slot = (slot + 1) & ((1u << filter->slot_bits) - 1);
		filter->slots[slot] = i + 1;
	}
}

struct reaction_filter *
reaction_filter_new(struct arena *arena, const struct literals *literals, unsigned n)
{
	struct reaction_filter *filter = arena_alloc(arena, sizeof(*filter));
	uint64_t *always = arena_alloc(arena, (REACTION_WORDS(n) + 1) * sizeof(*always));
	unsigned literals_n = 0;
	for (unsigned i = 0; i < n; i++) {
		literals_n += literals[i].n;
		if (literals[i].n == 0)
			always[i / 64] |= UINT64_C(1) << i % 64;
	}
	filter->words = REACTION_WORDS(n);
	filter->always = always;
	filter->entries = arena_alloc(arena, (literals_n + 1) * sizeof(*filter->entries));
	add_entries(filter, literals, n);
	add_slots(filter, arena);
	return filter;
}

static bool
stands_at(const struct entry *entry, struct span line, size_t gram_start)
{
	if (gram_start < entry->at || line.n - (gram_start - entry->at) < entry->literal.n)
		return false;
	const char *p = line.p + (gram_start - entry->at);
	for (unsigned i = 0; i < entry->literal.n; i++)
		if (literal_fold((unsigned char)p[i]) != (unsigned char)entry->literal.text[i])
			return false;
	return true;
}

static void
look_up(const struct reaction_filter *filter, uint32_t gram, struct span line, size_t gram_start, uint64_t *marks)
{
	uint32_t slot = hash(gram, filter->slot_bits);
	while (filter->slots[slot] && filter->entries[filter->slots[slot] - 1].gram != gram)
		slot = (slot + 1) & ((1u << filter->slot_bits) - 1);
	if (!filter->slots[slot])
		return;
	for (unsigned i = filter->slots[slot] - 1; i < filter->entries_n && filter->entries[i].gram == gram; i++) {
		const struct entry *entry = &filter->entries[i];
		if (stands_at(entry, line, gram_start))
			marks[entry->rule / 64] |= UINT64_C(1) << entry->rule % 64;
	}
}

void
reaction_filter_mark(const struct reaction_filter *filter, struct span line, uint64_t *marks)
{
	memcpy(marks, filter->always, filter->words * sizeof(*marks));
	uint32_t gram = 0;
	for (size_t i = 0; i < line.n; i++) {
		gram = (gram << 8 | literal_fold((unsigned char)line.p[i])) & GRAM_MASK;
		uint32_t bit = hash(gram, BITMAP_BITS);
		if (i + 1 >= GRAM && (filter->bitmap[bit / 64] >> bit % 64 & 1))
			look_up(filter, gram, line, i + 1 - GRAM, marks);
	}
}
