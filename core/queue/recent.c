/*
 * recent - a row of instants a rule, each with how many matches it stands for.
 *
 * A match is an instant of its own; when there are too many, the two oldest of a
 * size become one of twice that size, at the later of their instants (exponential
 * histogram; Datar and others, 2002). So the newest stay exact, and where a window
 * cuts through the older ones the count is over by at most a sixteenth, never
 * under. A flood of a million matches costs 7 KiB.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/recent.h"

#define HEAPS_A_SIZE 16u
#define ROW_MAX      (RECENT_EXACT + 31 * HEAPS_A_SIZE)
#define RULES_MAX    1024u

struct heap_of {
	mono_us_t at;
	uint32_t  n;
};

struct rule {
	struct list node;
	char       *name;
	uint64_t    place;
	int64_t     keep_us;
	unsigned    n, cap;
	struct heap_of *row;            /* oldest first */
};

struct recent_queue {
	char       *name;
	struct list rules;
	unsigned    rules_n;
	struct list in_oldest;
	mono_us_t   last;               /* match of any of them */
	int64_t     keep_us;            /* the longest of theirs */
};

static void
rule_free(struct rule *rule)
{
	list_remove(&rule->node);
	free(rule->name);
	free(rule->row);
	free(rule);
}

static void
queue_free(struct recent *recent, struct recent_queue *queue)
{
	list_each_safe(node, &queue->rules)
		rule_free(list_entry(node, struct rule, node));
	list_remove(&queue->in_oldest);
	table_remove(&recent->queues, span_text(queue->name));
	free(queue->name);
	free(queue);
}

void
recent_init(struct recent *recent, uint64_t seed)
{
	table_init(&recent->queues, seed);
	list_init(&recent->oldest);
}

void
recent_fini(struct recent *recent)
{
	list_each_safe(node, &recent->oldest)
		queue_free(recent, list_entry(node, struct recent_queue, in_oldest));
	table_fini(&recent->queues);
}

static struct rule *
find(const struct recent_queue *queue, const char *name, uint64_t place)
{
	list_each(node, &queue->rules) {
		struct rule *rule = list_entry(node, struct rule, node);

		if (rule->place == place && strcmp(rule->name, name) == 0)
			return rule;
	}
	return NULL;
}

static struct recent_queue *
queue_get(struct recent *recent, const char *name)
{
	struct recent_queue *queue = table_get(&recent->queues, span_text(name));

	if (queue != NULL)
		return queue;
	if (recent->queues.n >= RECENT_QUEUES_MAX)
		queue_free(recent, list_first(&recent->oldest, struct recent_queue, in_oldest));
	queue = mem_alloc(sizeof *queue);
	queue->name = mem_strdup(name);
	list_init(&queue->rules);
	list_init(&queue->in_oldest);
	table_put(&recent->queues, span_text(queue->name), queue);
	return queue;
}

static struct rule *
rule_get(struct recent_queue *queue, const char *name, uint64_t place)
{
	struct rule *rule = find(queue, name, place);

	if (rule != NULL)
		return rule;
	if (queue->rules_n >= RULES_MAX)
		rule_free(list_first(&queue->rules, struct rule, node));
	else
		queue->rules_n++;
	rule = mem_alloc(sizeof *rule);
	rule->name = mem_strdup(name);
	rule->place = place;
	list_add_tail(&queue->rules, &rule->node);
	return rule;
}

static void
merge_with_next(struct rule *rule, unsigned i)
{
	rule->row[i].n += rule->row[i + 1].n;
	rule->row[i].at = rule->row[i + 1].at;
	rule->n--;
	memmove(rule->row + i + 1, rule->row + i + 2, (rule->n - i - 1) * sizeof *rule->row);
}

/* Too many heaps of one size: the two oldest of them become one of twice that size, and so on. */
static void
merge(struct rule *rule)
{
	unsigned end = rule->n, begin;

	for (unsigned max = RECENT_EXACT; end > 0; max = HEAPS_A_SIZE, end = begin) {
		begin = end - 1;
		while (begin > 0 && rule->row[begin - 1].n == rule->row[end - 1].n)
			begin--;
		if (end - begin <= max)
			return;
		merge_with_next(rule, begin);
		begin++;                /* the new one belongs to the next size */
	}
}

static void
rule_add(struct rule *rule, mono_us_t at, uint32_t n)
{
	unsigned old = 0;

	while (old < rule->n && at - rule->row[old].at >= rule->keep_us)
		old++;
	if (old > 0) {
		rule->n -= old;
		memmove(rule->row, rule->row + old, rule->n * sizeof *rule->row);
	}
	if (rule->n == ROW_MAX)
		merge_with_next(rule, 0);
	if (rule->n == rule->cap) {
		rule->cap = rule->cap > 0 ? 2 * rule->cap : 4;
		rule->row = mem_grow(rule->row, rule->cap * sizeof *rule->row);
	}
	rule->row[rule->n++] = (struct heap_of){ at, n };
	if (n == 1)
		merge(rule);
}

static void
touch(struct recent *recent, struct recent_queue *queue, int64_t keep_us, mono_us_t now)
{
	queue->last = max_i64(queue->last, now);
	queue->keep_us = max_i64(queue->keep_us, keep_us);
	list_remove(&queue->in_oldest);
	list_add_tail(&recent->oldest, &queue->in_oldest);
}

void
recent_add(struct recent *recent, const char *queue_name, const char *name, uint64_t place, int64_t keep_us, mono_us_t now)
{
	struct recent_queue *queue = queue_get(recent, queue_name);
	struct rule *rule = rule_get(queue, name, place);

	rule->keep_us = max_i64(keep_us, RECENT_KEEP_US);
	rule_add(rule, now, 1);
	touch(recent, queue, rule->keep_us, now);
}

static unsigned
count_in(const struct rule *rule, int64_t window_us, mono_us_t now)
{
	uint64_t sum = 0;

	for (unsigned i = rule->n; i > 0 && now - rule->row[i - 1].at < window_us; i--)
		sum += rule->row[i - 1].n;
	return sum < UINT32_MAX ? (unsigned)sum : UINT32_MAX;
}

unsigned
recent_count(const struct recent *recent, const char *queue_name, const char *name, uint64_t place, int64_t window_us,
	     mono_us_t now)
{
	const struct recent_queue *queue = table_get(&recent->queues, span_text(queue_name));
	const struct rule *rule = queue != NULL ? find(queue, name, place) : NULL;

	return rule != NULL ? count_in(rule, window_us, now) : 0;
}

unsigned
recent_count_named(const struct recent *recent, const char *queue_name, const char *name, int64_t window_us, mono_us_t now)
{
	const struct recent_queue *queue = table_get(&recent->queues, span_text(queue_name));
	unsigned sum = 0;

	if (queue == NULL)
		return 0;
	list_each(node, &queue->rules) {
		const struct rule *rule = list_entry(node, struct rule, node);

		if (strcmp(rule->name, name) == 0)
			sum += count_in(rule, window_us, now);
	}
	return sum;
}

void
recent_reap(struct recent *recent, mono_us_t now)
{
	list_each_safe(node, &recent->oldest) {
		struct recent_queue *queue = list_entry(node, struct recent_queue, in_oldest);

		/* Whose windows are longer than the others' may hold up a few behind it: they go with it. */
		if (now - queue->last < queue->keep_us)
			return;
		queue_free(recent, queue);
	}
}

/* ---- across a restart ---- */

static int64_t
wall_of(mono_us_t at, struct now now)
{
	return now.wall.ms + (at - now.mono) / US_PER_MS;
}

static void
put_queue(const struct recent_queue *queue, struct now now, struct buf *out)
{
	buf_put_bytes(out, span_text(queue->name));
	buf_put_u32(out, queue->rules_n);
	list_each(node, &queue->rules) {
		const struct rule *rule = list_entry(node, struct rule, node);

		buf_put_bytes(out, span_text(rule->name));
		buf_put_u64(out, rule->place);
		buf_put_u64(out, (uint64_t)rule->keep_us);
		buf_put_u32(out, rule->n);
		for (unsigned i = 0; i < rule->n; i++) {
			buf_put_u64(out, (uint64_t)wall_of(rule->row[i].at, now));
			buf_put_u32(out, rule->row[i].n);
		}
	}
}

void
recent_save(const struct recent *recent, uint8_t kind, struct now now, struct buf *out)
{
	struct buf one;

	buf_init(&one, 0);
	list_each(node, &recent->oldest) {
		buf_clear(&one);
		put_queue(list_entry(node, struct recent_queue, in_oldest), now, &one);
		buf_put_u8(out, kind);
		buf_put_bytes(out, buf_span(&one));
	}
	buf_fini(&one);
}

static bool
get_row(struct span *in, struct rule *rule, uint32_t n, struct now now)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t ms;
		uint32_t count;
		int64_t away;

		if (!span_get_u64(in, &ms) || !span_get_u32(in, &count) || rule->n >= ROW_MAX)
			return false;
		/* A clock that was set back must not put a match into the future. */
		if (__builtin_sub_overflow((int64_t)ms, now.wall.ms, &away) || away > 0)
			away = 0;
		away = max_i64(away, -(rule->keep_us / US_PER_MS));
		rule_add(rule, now.mono + away * US_PER_MS, count);
	}
	return true;
}

static bool
get_rule(struct span *in, struct recent *recent, struct recent_queue *queue, struct now now)
{
	struct span name;
	uint64_t place, keep;
	uint32_t n;
	char *text;
	struct rule *rule;

	if (!span_get_bytes(in, &name) || !span_get_u64(in, &place) || !span_get_u64(in, &keep) || !span_get_u32(in, &n) ||
	    keep > INT64_MAX / 4 || (int64_t)keep < RECENT_KEEP_US)
		return false;
	text = mem_strndup(name.p, name.n);
	rule = rule_get(queue, text, place);
	free(text);
	rule->keep_us = (int64_t)keep;
	if (!get_row(in, rule, n, now))
		return false;
	touch(recent, queue, rule->keep_us, rule->n > 0 ? rule->row[rule->n - 1].at : now.mono);
	return true;
}

bool
recent_load(struct recent *recent, struct span *in, struct now now)
{
	struct recent_queue *queue;
	struct span one, name;
	uint32_t rules;
	char *text;
	bool ok = true;

	if (!span_get_bytes(in, &one) || !span_get_bytes(&one, &name) || !span_get_u32(&one, &rules) || rules > RULES_MAX)
		return false;
	text = mem_strndup(name.p, name.n);
	queue = queue_get(recent, text);
	free(text);
	queue->last = INT64_MIN / 2;
	touch(recent, queue, RECENT_KEEP_US, INT64_MIN / 2);
	while (ok && rules-- > 0)
		ok = get_rule(&one, recent, queue, now);
	return ok;
}
