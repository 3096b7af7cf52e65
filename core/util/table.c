/*
 * Open addressing with linear probing. The slots hold places in a dense
 * array of entries: an empty slot costs eight bytes, a walk reads no holes, and
 * its order is that of insertion rather than of a seed, so a simulated run
 * replays. The hash stands in the slot: a probe chain is read without the
 * entries, each of which would be a cache miss in a large table. Many a table never has a
 * second entry: the first stands in the table itself, and is compared without a hash. Removal closes the gap in the probe chain
 * (Knuth, volume 3, 6.4, algorithm R) and moves the last entry into the hole. The walk goes from the
 * last entry to the first, so what moves has been seen already.
 *
 * The hash is SipHash-1-3 (Aumasson and Bernstein): names come from peers.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/table.h"

#include <endian.h>
#include <stdlib.h>

#define CAP_MIN 4u

struct table_entry {
	const char *key;
	uint32_t    len;
	uint32_t    hash;
	void       *value;
};

struct table_slot {
	uint32_t place;                 /* in entries + 1; 0: empty */
	uint32_t hash;
};

static inline uint64_t
rotl(uint64_t x, int by)
{
	return (x << by) | (x >> (64 - by));
}

static inline void
sip_round(uint64_t v[4])
{
	v[0] += v[1]; v[1] = rotl(v[1], 13); v[1] ^= v[0]; v[0] = rotl(v[0], 32);
	v[2] += v[3]; v[3] = rotl(v[3], 16); v[3] ^= v[2];
	v[0] += v[3]; v[3] = rotl(v[3], 21); v[3] ^= v[0];
	v[2] += v[1]; v[1] = rotl(v[1], 17); v[1] ^= v[2]; v[2] = rotl(v[2], 32);
}

/* What is left from i on, less than eight bytes, the first in the lowest place as in the words before. */
static inline uint64_t
rest_of(struct span s, size_t i)
{
	uint64_t word = 0;
	size_t left = s.n - i;
	if (left == 0)
		return 0;
	if (s.n < 8) {
		for (size_t j = 0; j < left; j++)
			word |= (uint64_t)(unsigned char)s.p[i + j] << (8 * j);
		return word;
	}
	memcpy(&word, s.p + s.n - 8, 8);
	return le64toh(word) >> (8 * (8 - left));
}

uint64_t
hash_bytes(struct span s, uint64_t seed)
{
	uint64_t key2 = rotl(seed, 32) * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t v[4] = {
		seed ^ UINT64_C(0x736f6d6570736575), key2 ^ UINT64_C(0x646f72616e646f6d),
		seed ^ UINT64_C(0x6c7967656e657261), key2 ^ UINT64_C(0x7465646279746573),
	};
	uint64_t word;
	size_t i = 0;
	for (; s.n - i >= 8; i += 8) {
		memcpy(&word, s.p + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)s.n << 56 | rest_of(s, i);
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void
table_init(struct table *table, uint64_t seed)
{
	*table = (struct table){ .seed = seed };
}

void
table_fini(struct table *table)
{
	if (table->cap) {
		free(table->entries);
		free(table->index);
	}
	*table = (struct table){ .seed = table->seed };
}

static uint32_t
room_of(uint32_t cap)
{
	return cap / 4 * 3;
}

/* The slot that holds the key, or the empty one where it would go. */
static uint32_t
find_slot(const struct table *table, struct span key, uint32_t hash)
{
	uint32_t mask = table->cap - 1;
	for (uint32_t slot = hash & mask; ; slot = (slot + 1) & mask) {
		const struct table_slot *at = &table->index[slot];
		if (!at->place)
			return slot;
		if (at->hash != hash)
			continue;
		const struct table_entry *e = &table->entries[at->place - 1];
		if (span_eq(span_make(e->key, e->len), key))
			return slot;
	}
}

static uint32_t
hash_of(const struct table *table, struct span key)
{
	return (uint32_t)hash_bytes(key, table->seed);
}

/* The slot of the entry at `place` (1-based). */
static uint32_t
slot_of_place(const struct table *table, uint32_t place)
{
	uint32_t mask = table->cap - 1;
	uint32_t slot = table->entries[place - 1].hash & mask;
	while (table->index[slot].place != place)
		slot = (slot + 1) & mask;
	return slot;
}

static void
fill(struct table_slot *index, uint32_t cap, struct table_slot with)
{
	uint32_t slot = with.hash & (cap - 1);
	while (index[slot].place)
		slot = (slot + 1) & (cap - 1);
	index[slot] = with;
}

static bool
is_only(const struct table *table, struct span key)
{
	return table->n && span_eq(span_make(table->only.key, table->only_len), key);
}

static void
resize(struct table *table, uint32_t cap)
{
	struct table_slot *index = mem_alloc(cap * sizeof(*index));
	table->entries = mem_grow(table->entries, room_of(cap) * sizeof(*table->entries));
	for (uint32_t slot = 0; slot < table->cap; slot++)
		if (table->index[slot].place)
			fill(index, cap, table->index[slot]);
	free(table->index);
	table->index = index;
	table->cap = cap;
}

/* The first entry goes where those to come have room. */
static void
leave_only(struct table *table)
{
	struct span key = span_make(table->only.key, table->only_len);
	void *value = table->only.value;
	uint32_t hash = hash_of(table, key);

	table->entries = NULL;
	table->index = NULL;
	resize(table, CAP_MIN);
	table->entries[0] = (struct table_entry){ key.p, (uint32_t)key.n, hash, value };
	fill(table->index, table->cap, (struct table_slot){ 1, hash });
}

void *
table_get(const struct table *table, struct span key)
{
	if (!table->cap)
		return is_only(table, key) ? table->only.value : NULL;
	if (!table->n)
		return NULL;
	uint32_t place = table->index[find_slot(table, key, hash_of(table, key))].place;
	return place ? table->entries[place - 1].value : NULL;
}

void
table_put(struct table *table, struct span key, void *value)
{
	check(value);
	check(key.n <= UINT32_MAX);
	if (!table->n && !table->cap) {
		table->only.key = key.p;
		table->only.value = value;
		table->only_len = (uint32_t)key.n;
		table->n = 1;
		return;
	}
	if (!table->cap) {
		check(!is_only(table, key));
		leave_only(table);
	} else if (table->n == room_of(table->cap)) {
		check(table->cap <= UINT32_MAX / 4);
		resize(table, table->cap * 2);
	}
	uint32_t hash = hash_of(table, key);
	uint32_t slot = find_slot(table, key, hash);
	check(table->index[slot].place == 0);
	table->entries[table->n++] = (struct table_entry){ key.p, (uint32_t)key.n, hash, value };
	table->index[slot] = (struct table_slot){ table->n, hash };
}

static void
close_gap(struct table *table, uint32_t gap)
{
	uint32_t mask = table->cap - 1;
	for (uint32_t slot = (gap + 1) & mask; table->index[slot].place; slot = (slot + 1) & mask) {
		uint32_t home = table->index[slot].hash & mask;
		if (((slot - home) & mask) < ((slot - gap) & mask))
			continue;
		table->index[gap] = table->index[slot];
		gap = slot;
	}
	table->index[gap] = (struct table_slot){ 0 };
}

void *
table_remove(struct table *table, struct span key)
{
	if (!table->cap) {
		if (!is_only(table, key))
			return NULL;
		table->n = 0;
		return table->only.value;
	}
	if (!table->n)
		return NULL;
	uint32_t slot = find_slot(table, key, hash_of(table, key));
	uint32_t place = table->index[slot].place;
	if (!place)
		return NULL;
	void *value = table->entries[place - 1].value;
	close_gap(table, slot);
	if (place != table->n) {
		table->index[slot_of_place(table, table->n)].place = place;
		table->entries[place - 1] = table->entries[table->n - 1];
	}
	table->n--;
	if (table->cap > CAP_MIN && table->n < table->cap / 8)
		resize(table, table->cap / 2);
	return value;
}

/* *pos: 0 at the start, else the place + 1 of what was returned last. */
void *
table_next(const struct table *table, uint32_t *pos)
{
	uint32_t left = *pos ? *pos - 2 : table->n;     /* places not yet seen: 1 … left */
	if (left > table->n)
		left = table->n;
	if (!left) {
		*pos = 2;
		return NULL;
	}
	*pos = left + 1;
	return table->cap ? table->entries[left - 1].value : table->only.value;
}
