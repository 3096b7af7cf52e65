/*
 * table - hash table from bytes to a pointer.
 *
 * Ownership  Keys are borrowed from the values: a key must live, unchanged,
 *            as long as its entry. Values are the caller's.
 * Limits     Grows and shrinks with its content. The hash is seeded per table,
 *            so that a peer who picks names cannot pick collisions.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

struct table_entry;
struct table_slot;

struct table {
	union {
		struct {
			struct table_entry *entries;
			struct table_slot  *index;      /* of cap slots */
		};
		struct {                /* cap 0: the only entry, if there is one */
			const char *key;
			void       *value;
		} only;
	};
	uint32_t            n, cap, only_len;
	uint64_t            seed;
};

void  table_init(struct table *table, uint64_t seed);
void  table_fini(struct table *table);
void *table_get(const struct table *table, struct span key);    /* NULL: none */
void  table_put(struct table *table, struct span key, void *value);     /* key must be new */
void *table_remove(struct table *table, struct span key);       /* the value, or NULL */

/* Walks all, in an order that does not depend on the seed; *pos starts at 0.
 * The entry just returned may be removed; nothing may be put meanwhile. */
void *table_next(const struct table *table, uint32_t *pos);

uint64_t hash_bytes(struct span s, uint64_t seed);
