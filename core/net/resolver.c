/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entry is one question, (type, name), in one of two states: asking, with
 * those who wait for it on a list, or cached, in the order of last use. An
 * answer is kept packed, since sixteen thousand names of sixty-four fixed
 * records would be a quarter of a gigabyte, and unpacked onto the stack for
 * the call that tells it. So nothing that a callback does to the cache
 * (asking again, forgetting, pushing the entry out) can pull the answer from
 * under the next callback.
 *
 * Those who wait are moved off the entry before the first of them is told:
 * what is asked again from within a callback begins a new round and is not
 * told the old answer twice, and what is cancelled meanwhile is on nobody's
 * list any more.
 */
#include "net/resolver.h"

#include "util/buf.h"
#include "util/list.h"
#include "util/table.h"

#define CACHE_MAX      16384u
#define TTL_MIN_S      1u
#define TTL_MAX_S      86400u
#define TTL_NEGATIVE_S 300u
#define KEY_MAX        (RESOLVER_NAME_MAX + 1)

struct entry {
	struct resolver     *resolver;
	struct list          lru;               /* cached: the tail was used last */
	struct list          waiting;           /* asking: struct resolver_query */
	void                *question;          /* asking: the source's */
	bool                 asking;
	enum resolver_status status;
	unsigned             n;
	mono_us_t            expires;
	struct buf           packed;
	uint16_t             key_len;
	char                 key[KEY_MAX + 1];  /* the type as a letter, then the name */
};

struct resolver_query {
	struct list   link;
	struct entry *entry;                    /* NULL once its answer is being told */
	resolver_fn  *on_answer;
	void         *ctx;
};

struct resolver {
	struct loop            *loop;
	struct resolver_source *source;
	struct table            entries;
	struct list             lru;
	unsigned                cached;
	unsigned                telling;        /* answers being told just now */
};

/* An answer with room for its records. */
struct unpacked {
	struct resolver_answer answer;
	struct resolver_mx     mx[RESOLVER_RECORDS_MAX];
	struct ip              ip[RESOLVER_RECORDS_MAX];
};

static enum resolver_type
entry_type(const struct entry *entry)
{
	return entry->key[0] == 'm' ? RESOLVE_MX : RESOLVE_ADDRESS;
}

/* False: too long to be a name. */
static bool
key_format(const char *name, enum resolver_type type, char key[KEY_MAX + 1], size_t *len_out)
{
	size_t n = strlen(name);
	if (n > 1 && name[n - 1] == '.')
		n--;
	if (n == 0 || n >= RESOLVER_NAME_MAX)
		return false;
	key[0] = type == RESOLVE_MX ? 'm' : 'a';
	for (size_t i = 0; i < n; i++) {
		char c = name[i];
		key[i + 1] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	key[n + 1] = '\0';
	*len_out = n + 1;
	return true;
}

static struct entry *
entry_new(struct resolver *resolver, const char *key, size_t len)
{
	struct entry *entry = mem_alloc(sizeof(*entry));
	entry->resolver = resolver;
	entry->key_len = (uint16_t)len;
	memcpy(entry->key, key, len + 1);
	list_init(&entry->lru);
	list_init(&entry->waiting);
	buf_init(&entry->packed, 0);
	table_put(&resolver->entries, span_make(entry->key, len), entry);
	return entry;
}

static void
entry_drop(struct entry *entry)
{
	struct resolver *resolver = entry->resolver;
	check(list_empty(&entry->waiting));
	table_remove(&resolver->entries, span_make(entry->key, entry->key_len));
	if (entry->question)
		resolver->source->cancel(resolver->source, entry->question);
	if (list_linked(&entry->lru)) {
		list_remove(&entry->lru);
		resolver->cached--;
	}
	buf_fini(&entry->packed);
	free(entry);
}

static void
pack(struct entry *entry, const struct resolver_answer *answer)
{
	unsigned n = answer->n < RESOLVER_RECORDS_MAX ? answer->n : RESOLVER_RECORDS_MAX;
	entry->status = answer->status;
	entry->n = answer->status == RESOLVER_OK ? n : 0;
	for (unsigned i = 0; i < entry->n; i++) {
		if (entry_type(entry) == RESOLVE_MX) {
			size_t len = strnlen(answer->mx[i].host, RESOLVER_NAME_MAX - 1);
			buf_put_u16(&entry->packed, answer->mx[i].preference);
			buf_put_bytes(&entry->packed, span_make(answer->mx[i].host, len));
		} else {
			buf_put_u8(&entry->packed, answer->ip[i].family);
			buf_add(&entry->packed, span_make(answer->ip[i].bytes, sizeof(answer->ip[i].bytes)));
		}
	}
}

static void
unpack(const struct entry *entry, mono_us_t now, struct unpacked *out)
{
	struct span in = buf_span(&entry->packed);
	memset(&out->answer, 0, sizeof(out->answer));
	for (unsigned i = 0; i < entry->n; i++) {
		if (entry_type(entry) == RESOLVE_MX) {
			struct span host;
			check(span_get_u16(&in, &out->mx[i].preference));
			check(span_get_bytes(&in, &host));
			check(host.n < RESOLVER_NAME_MAX);
			memcpy(out->mx[i].host, host.p, host.n);
			out->mx[i].host[host.n] = '\0';
		} else {
			check(span_get_u8(&in, &out->ip[i].family));
			check(in.n >= sizeof(out->ip[i].bytes));
			memcpy(out->ip[i].bytes, in.p, sizeof(out->ip[i].bytes));
			in = span_from(in, sizeof(out->ip[i].bytes));
		}
	}
	out->answer.status = entry->status;
	out->answer.n = entry->n;
	out->answer.mx = entry_type(entry) == RESOLVE_MX ? out->mx : NULL;
	out->answer.ip = entry_type(entry) == RESOLVE_ADDRESS ? out->ip : NULL;
	out->answer.ttl_s = (uint32_t)((entry->expires - now + US_PER_S - 1) / US_PER_S);
}

static bool
cacheable(enum resolver_status status)
{
	return status == RESOLVER_OK || status == RESOLVER_NODATA || status == RESOLVER_NXDOMAIN;
}

static void
entry_keep(struct entry *entry, const struct resolver_answer *answer)
{
	struct resolver *resolver = entry->resolver;
	uint32_t most = answer->status == RESOLVER_OK ? TTL_MAX_S : TTL_NEGATIVE_S;
	uint32_t ttl_s = answer->ttl_s < TTL_MIN_S ? TTL_MIN_S : answer->ttl_s > most ? most : answer->ttl_s;
	pack(entry, answer);
	entry->expires = loop_now(resolver->loop).mono + ttl_s * US_PER_S;
	list_add_tail(&resolver->lru, &entry->lru);
	resolver->cached++;
	if (resolver->cached > CACHE_MAX)
		entry_drop(list_first(&resolver->lru, struct entry, lru));
}

static void
tell_all(struct resolver *resolver, struct list *waiting, const struct resolver_answer *answer)
{
	list_each(node, waiting)
		list_entry(node, struct resolver_query, link)->entry = NULL;
	resolver->telling++;
	while (!list_empty(waiting)) {
		struct resolver_query *query = list_first(waiting, struct resolver_query, link);
		resolver_fn *on_answer = query->on_answer;
		void *ctx = query->ctx;
		list_remove(&query->link);
		free(query);
		on_answer(ctx, answer);
	}
	resolver->telling--;
}

static void
on_source_answer(void *ctx, const struct resolver_answer *answer)
{
	struct entry *entry = ctx;
	struct resolver *resolver = entry->resolver;
	struct list waiting;

	entry->question = NULL;
	entry->asking = false;
	list_init(&waiting);
	list_splice_tail(&waiting, &entry->waiting);
	if (!cacheable(answer->status)) {
		entry_drop(entry);
		tell_all(resolver, &waiting, answer);
		return;
	}
	struct unpacked told;
	entry_keep(entry, answer);
	unpack(entry, loop_now(resolver->loop).mono, &told);
	told.answer.detail = answer->detail;
	tell_all(resolver, &waiting, &told.answer);
}

struct resolver *
resolver_new(struct loop *loop, struct resolver_source *source, uint64_t seed)
{
	struct resolver *resolver = mem_alloc(sizeof(*resolver));
	resolver->loop = loop;
	resolver->source = source;
	table_init(&resolver->entries, seed);
	list_init(&resolver->lru);
	return resolver;
}

void
resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	check(resolver->telling == 0);
	struct entry *entry;
	uint32_t pos = 0;
	while ((entry = table_next(&resolver->entries, &pos)) != NULL) {
		while (!list_empty(&entry->waiting)) {
			struct resolver_query *query = list_first(&entry->waiting, struct resolver_query, link);
			list_remove(&query->link);
			free(query);
		}
		entry_drop(entry);
	}
	table_fini(&resolver->entries);
	free(resolver);
}

static void
tell_cached(struct entry *entry, mono_us_t now, resolver_fn *on_answer, void *ctx)
{
	struct resolver *resolver = entry->resolver;
	struct unpacked told;
	list_remove(&entry->lru);
	list_add_tail(&resolver->lru, &entry->lru);
	unpack(entry, now, &told);
	resolver->telling++;
	on_answer(ctx, &told.answer);
	resolver->telling--;
}

struct resolver_query *
resolver_ask(struct resolver *resolver, const char *name, enum resolver_type type,
	     resolver_fn *on_answer, void *ctx)
{
	char key[KEY_MAX + 1];
	size_t len;
	if (!key_format(name, type, key, &len)) {
		struct resolver_answer none = { .status = RESOLVER_NXDOMAIN, .ttl_s = TTL_NEGATIVE_S,
						.detail = "not a domain name" };
		on_answer(ctx, &none);
		return NULL;
	}

	mono_us_t now = loop_now(resolver->loop).mono;
	struct entry *entry = table_get(&resolver->entries, span_make(key, len));
	if (entry && !entry->asking) {
		if (entry->expires > now) {
			tell_cached(entry, now, on_answer, ctx);
			return NULL;
		}
		entry_drop(entry);
		entry = NULL;
	}
	if (!entry) {
		entry = entry_new(resolver, key, len);
		entry->asking = true;
		entry->question = resolver->source->ask(resolver->source, entry->key + 1, type,
							on_source_answer, entry);
	}
	struct resolver_query *query = mem_alloc(sizeof(*query));
	query->entry = entry;
	query->on_answer = on_answer;
	query->ctx = ctx;
	list_add_tail(&entry->waiting, &query->link);
	return query;
}

void
resolver_cancel(struct resolver_query *query)
{
	if (!query)
		return;
	struct entry *entry = query->entry;
	list_remove(&query->link);
	free(query);
	if (entry && list_empty(&entry->waiting))
		entry_drop(entry);
}

void
resolver_forget(struct resolver *resolver)
{
	while (!list_empty(&resolver->lru))
		entry_drop(list_first(&resolver->lru, struct entry, lru));
}
