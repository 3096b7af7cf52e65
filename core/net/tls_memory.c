/*
 * tls_memory - a table for who asks, a list by age of the last question for who
 * has to go. The bytes hold a session's secret, so they are wiped where they go.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_memory.h"

#include "util/list.h"
#include "util/table.h"

struct kept {
	struct list node;               /* memory->by_use: the newest question first */
	mono_us_t   until;
	size_t      key_n, n;
	char        text[];             /* the key, then the bytes */
};

struct tls_memory {
	struct table by_key;
	struct list  by_use;
};

struct tls_memory *
tls_memory_new(uint64_t seed)
{
	struct tls_memory *memory = mem_alloc(sizeof *memory);

	table_init(&memory->by_key, seed);
	list_init(&memory->by_use);
	return memory;
}

static struct span
key_of(const struct kept *kept)
{
	return span_make(kept->text, kept->key_n);
}

static void
drop(struct tls_memory *memory, struct kept *kept)
{
	table_remove(&memory->by_key, key_of(kept));
	list_remove(&kept->node);
	explicit_bzero(kept->text + kept->key_n, kept->n);
	free(kept);
}

void
tls_memory_free(struct tls_memory *memory)
{
	if (memory == NULL)
		return;
	while (!list_empty(&memory->by_use))
		drop(memory, list_first(&memory->by_use, struct kept, node));
	table_fini(&memory->by_key);
	free(memory);
}

void
tls_memory_keep(struct tls_memory *memory, struct span key, struct span bytes, mono_us_t until)
{
	struct kept *kept;

	tls_memory_forget(memory, key);
	if (bytes.n == 0 || bytes.n > TLS_MEMORY_BYTES_MAX)
		return;
	if (memory->by_key.n == TLS_MEMORY_MAX)
		drop(memory, list_entry(memory->by_use.prev, struct kept, node));
	kept = mem_alloc(sizeof *kept + key.n + bytes.n);
	kept->until = until;
	kept->key_n = key.n;
	kept->n = bytes.n;
	memcpy(kept->text, key.p, key.n);
	memcpy(kept->text + key.n, bytes.p, bytes.n);
	list_add_head(&memory->by_use, &kept->node);
	table_put(&memory->by_key, key_of(kept), kept);
}

struct span
tls_memory_recall(struct tls_memory *memory, struct span key, mono_us_t now, mono_us_t *until_out)
{
	struct kept *kept = table_get(&memory->by_key, key);

	if (kept == NULL)
		return span_make(NULL, 0);
	if (now >= kept->until) {
		drop(memory, kept);
		return span_make(NULL, 0);
	}
	list_remove(&kept->node);
	list_add_head(&memory->by_use, &kept->node);
	*until_out = kept->until;
	return span_make(kept->text + kept->key_n, kept->n);
}

void
tls_memory_forget(struct tls_memory *memory, struct span key)
{
	struct kept *kept = table_get(&memory->by_key, key);

	if (kept != NULL)
		drop(memory, kept);
}
