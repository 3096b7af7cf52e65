/*
 * scopes_shared - a table of what is counted.
 *
 * When the last shard leaves one, its name is free at once, but a call to one of the
 * lines may still be on its way. So it is kept aside, and freed when somebody comes by
 * and its mail has arrived.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/scopes_shared.h"

#include "util/buf.h"

/* A line of its own in the cache: other threads write it all the time. */
struct shared_scope {
	_Alignas(64) struct scope_use use;
	struct turns *lines[SCOPE_LINES_N];
	struct list   node;             /* shared->gone */
	unsigned      shards;           /* that have joined */
	char          key[];
};

struct scopes_shared {
	struct peers *peers;
	struct table  by_key;
	struct list   gone;
};

struct scopes_shared *
scopes_shared_new(struct peers *peers)
{
	struct scopes_shared *shared = mem_alloc(sizeof *shared);

	shared->peers = peers;
	table_init(&shared->by_key, 0);         /* the names are the operator's */
	list_init(&shared->gone);
	return shared;
}

static void
one_free(struct shared_scope *one)
{
	list_remove(&one->node);
	for (unsigned i = 0; i < SCOPE_LINES_N; i++)
		turns_free(one->lines[i]);
	free(one);
}

static void
sweep(struct scopes_shared *shared)
{
	list_each_safe(node, &shared->gone) {
		struct shared_scope *one = list_entry(node, struct shared_scope, node);
		bool idle = true;

		for (unsigned i = 0; i < SCOPE_LINES_N; i++)
			idle &= turns_idle(one->lines[i]);
		if (idle)
			one_free(one);
	}
}

void
scopes_shared_free(struct scopes_shared *shared)
{
	if (shared == NULL)
		return;
	check(shared->by_key.n == 0);
	list_each_safe(node, &shared->gone)
		one_free(list_entry(node, struct shared_scope, node));
	table_fini(&shared->by_key);
	free(shared);
}

static struct shared_scope *
one_new(struct scopes_shared *shared, struct span key)
{
	size_t n = sizeof(struct shared_scope) + key.n + 1;
	struct shared_scope *one = aligned_alloc(_Alignof(struct shared_scope), (n + 63) / 64 * 64);

	check(one != NULL);
	memset(one, 0, n);
	memcpy(one->key, key.p, key.n);
	list_init(&one->node);
	for (unsigned i = 0; i < SCOPE_LINES_N; i++)
		one->lines[i] = turns_new(shared->peers);
	table_put(&shared->by_key, span_make(one->key, key.n), one);
	return one;
}

void
scopes_shared_join(struct scopes_shared *shared, unsigned me, const char *kind, const char *name, struct scope *scope)
{
	struct shared_scope *one;
	struct buf key;

	sweep(shared);
	buf_init(&key, 0);
	buf_printf(&key, "%s %s", kind, name);
	one = table_get(&shared->by_key, buf_span(&key));
	if (one == NULL)
		one = one_new(shared, buf_span(&key));
	buf_fini(&key);
	one->shards++;
	scope_share(scope, &one->use, one->lines, me);
}

void
scopes_shared_leave(struct scopes_shared *shared, struct scope *scope)
{
	struct shared_scope *one = container_of(scope->use, struct shared_scope, use);

	scope_fini(scope);
	check(one->shards > 0);
	if (--one->shards > 0)
		return;
	check(gauge_in_use(&one->use.sessions) == 0);
	table_remove(&shared->by_key, span_text(one->key));
	list_add_tail(&shared->gone, &one->node);
}
