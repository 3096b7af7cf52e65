/*
 * What cannot be exercised is found by resolving every sort of queue that there is
 * (walk.h) with the engine's own precedence: a value that holds for none of them,
 * or a list that none of them asks, counts nowhere. The reason is looked for only
 * afterwards, from what usually is one.
 *
 * `backoff` is no row of its own: its rules are. Neither is `rollup` ever said to be
 * impossible by precedence, because the question is asked of blocks of every level.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/coverage.h"

#include "policy/reaction_book.h"
#include "policy/block.h"
#include "policy/walk.h"

#define HASH_SEED UINT64_C(0x736c75696365)
#define KEY_MAX   2048                  /* what is longer is cut, and may share a row */

struct row {
	struct coverage_row out;
	const char *key;
	size_t      key_n;
	bool        exercised, possible;
};

struct coverage {
	struct arena arena;
	struct table rows;
};

struct coverage *
coverage_new(void)
{
	struct coverage *coverage = mem_alloc(sizeof(*coverage));
	arena_init(&coverage->arena);
	table_init(&coverage->rows, HASH_SEED);
	return coverage;
}

void
coverage_free(struct coverage *coverage)
{
	if (!coverage)
		return;
	table_fini(&coverage->rows);
	arena_fini(&coverage->arena);
	free(coverage);
}

static struct span
key_of(enum coverage_kind kind, const struct where *where, const char *name, char out[KEY_MAX])
{
	int n = snprintf(out, KEY_MAX, "%d:%d:%.1000s:%.1000s", (int)kind, where->line, where->file, name);
	return span_make(out, (size_t)min_i64(n, KEY_MAX - 1));
}

static void
mark(struct coverage *coverage, enum coverage_kind kind, const struct where *where, const char *name)
{
	char key[KEY_MAX];
	struct row *row = where->file ? table_get(&coverage->rows, key_of(kind, where, name, key)) : NULL;
	if (row)
		row->exercised = true;
}

/* why: it cannot be exercised where it stands here; NULL: it can. */
static void
enter(struct coverage *coverage, enum coverage_kind kind, const struct where *where, const char *name, const char *why)
{
	char text[KEY_MAX];
	if (!where->file)
		return;
	struct span key = key_of(kind, where, name, text);
	struct row *row = table_get(&coverage->rows, key);
	if (!row) {
		row = arena_alloc(&coverage->arena, sizeof(*row));
		row->out = (struct coverage_row){
			.kind = kind, .name = arena_strdup(&coverage->arena, name),
			.file = arena_strdup(&coverage->arena, where->file), .line = where->line,
		};
		key = arena_span(&coverage->arena, key);
		table_put(&coverage->rows, key, row);
	}
	row->possible = row->possible || !why;
	if (why && !row->out.why)
		row->out.why = arena_strdup(&coverage->arena, why);
}

/* ---- what counts nowhere ---- */

struct reached {
	const struct ruleset *ruleset;
	struct coverage      *coverage;
	struct table          values, parts;    /* keys are addresses: `where` strings of values, parts of lists */
	struct arena          arena;
	bool                  whole;
};

struct value_key { enum setting_id id; int line; const char *file, *scope; };

static void
put_once(struct reached *reached, struct table *table, struct span key)
{
	if (!table_get(table, key))
		table_put(table, arena_span(&reached->arena, key), reached);
}

static struct value_key
value_key(enum setting_id id, const struct where *where)
{
	struct value_key key;
	memset(&key, 0, sizeof(key));           /* its padding is looked at too */
	key.id = id;
	key.line = where->line;
	key.file = where->file;
	key.scope = where->scope;
	return key;
}

static void
reach(void *ctx, const struct walk_queue *queue)
{
	struct reached *reached = ctx;
	struct queue_settings settings;
	const struct walk_site *site = queue->site;
	ruleset_resolve(reached->ruleset, site->provider, site->domain, queue->vmta, &settings);
	for (unsigned id = 0; id < SETTINGS_N; id++) {
		struct value_key key = value_key(id, &settings.where[id]);
		if (settings.where[id].file)
			put_once(reached, &reached->values, span_make(&key, sizeof(key)));
	}
	const struct reaction_list *list = ruleset_reactions(reached->ruleset, site->provider, site->domain, queue->vmta);
	for (unsigned i = 0; list && i < list->parts_n; i++)
		put_once(reached, &reached->parts, span_make(&list->parts[i], sizeof(list->parts[i])));
}

/* NULL: after all it may count. */
static const char *
why_not(const struct reached *reached, const struct ruleset_block *block, enum setting_id id, char *out, size_t size)
{
	const struct ruleset_provider *provider = block->provider ? ruleset_provider(reached->ruleset, span_text(block->provider)) : NULL;
	const struct ruleset_provider *owner = NULL;
	if (provider && !provider->domains_n && !provider->mx_n) {
		snprintf(out, size, "provider \"%s\" has neither domains nor mx: no mail goes there", provider->name);
		return out;
	}
	if (!block->provider && block->kind == DOMAIN_EXACT && setting_table[id].level != SETTING_LEVEL_R)
		owner = ruleset_provider_of_domain(reached->ruleset, span_text(block->domain));
	if (owner)
		snprintf(out, size, "the domain belongs to %s (%s:%d)", owner->where.scope, owner->where.file, owner->where.line);
	else if (id == SETTING_rollup)
		return NULL;
	else
		snprintf(out, size, "every queue that it could hold for has another from a block that comes first");
	return out;
}

static void
enter_rules(const struct reached *reached, const struct ruleset_block *block, const struct block_value *value)
{
	const struct reaction_part *part = value->value.REACTIONS->parts[0];
	bool counts = !reached->whole || table_get(&reached->parts, span_make(&part, sizeof(part)));
	char why[600];
	for (unsigned i = 0; i < part->n; i++) {
		const struct reaction *rule = &part->reactions[i];
		const char *cannot = rule->cannot;
		if (!cannot && !counts)
			cannot = why_not(reached, block, SETTING_backoff, why, sizeof(why));
		enter(reached->coverage, COVERAGE_RULE, &rule->where, rule->name, cannot);
	}
}

static void
enter_block(const struct reached *reached, const struct ruleset_block *block)
{
	char why[600];
	for (unsigned i = 0; i < block->values_n; i++) {
		const struct block_value *value = &block->values[i];
		struct where where = { value->file, value->line, block->where.scope };
		if (value->id == SETTING_backoff) {
			enter_rules(reached, block, value);
			continue;
		}
		struct value_key key = value_key(value->id, &where);
		const char *cannot = NULL;
		if (reached->whole && !table_get(&reached->values, span_make(&key, sizeof(key))))
			cannot = why_not(reached, block, value->id, why, sizeof(why));
		enter(reached->coverage, COVERAGE_SETTING, &where, setting_table[value->id].name, cannot);
	}
}

static void
enter_blocks(const struct reached *reached, const struct ruleset_block *const *blocks, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		enter_block(reached, blocks[i]);
}

static void
enter_limits(struct coverage *coverage, const struct where *smtp_out, const struct where *connects, const struct where *messages)
{
	enter(coverage, COVERAGE_SETTING, smtp_out, "max_smtp_out", NULL);
	if (connects)
		enter(coverage, COVERAGE_SETTING, connects, "max_connect_rate", NULL);
	enter(coverage, COVERAGE_SETTING, messages, "max_msg_rate", NULL);
}

static void
enter_hook(void *ctx, const char *name, const struct where *where)
{
	enter(ctx, COVERAGE_HOOK, where, name, NULL);
}

static void
enter_ruleset(const struct reached *reached)
{
	const struct ruleset *ruleset = reached->ruleset;
	enter_limits(reached->coverage, &ruleset->node.max_smtp_out_where, NULL, &ruleset->node.max_msg_rate_where);
	enter_blocks(reached, ruleset->blocks, ruleset->blocks_n);
	for (unsigned i = 0; i < ruleset->vmtas_n; i++) {
		const struct ruleset_vmta *vmta = ruleset->vmtas[i];
		enter_limits(reached->coverage, &vmta->max_smtp_out_where, &vmta->max_connect_rate_where, &vmta->max_msg_rate_where);
		enter_blocks(reached, vmta->blocks, vmta->blocks_n);
	}
	for (unsigned i = 0; i < ruleset->pools_n; i++) {
		const struct ruleset_pool *pool = ruleset->pools[i];
		enter_limits(reached->coverage, &pool->max_smtp_out_where, &pool->max_connect_rate_where, &pool->max_msg_rate_where);
		enter_blocks(reached, pool->blocks, pool->blocks_n);
	}
}

void
coverage_declare(struct coverage *coverage, const struct policy *policy)
{
	struct reached reached = { .ruleset = policy_ruleset(policy), .coverage = coverage };
	table_init(&reached.values, HASH_SEED);
	table_init(&reached.parts, HASH_SEED);
	arena_init(&reached.arena);
	reached.whole = walk_queues(reached.ruleset, reach, &reached);
	enter_ruleset(&reached);
	policy_each_hook(policy, enter_hook, coverage);
	table_fini(&reached.values);
	table_fini(&reached.parts);
	arena_fini(&reached.arena);
}

/* ---- marks, and what came of them ---- */

void
coverage_setting(struct coverage *coverage, const struct where *where, const char *name)
{
	mark(coverage, COVERAGE_SETTING, where, name);
}

void
coverage_rule(struct coverage *coverage, const struct reaction *reaction)
{
	mark(coverage, COVERAGE_RULE, &reaction->where, reaction->name);
}

void
coverage_hook(struct coverage *coverage, const struct where *where, const char *name)
{
	mark(coverage, COVERAGE_HOOK, where, name);
}

static int
compare(const void *a, const void *b)
{
	const struct coverage_row *x = &(*(const struct row *const *)a)->out, *y = &(*(const struct row *const *)b)->out;
	int files = strcmp(x->file, y->file);
	if (files)
		return files;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->name, y->name);
}

void
coverage_each(const struct coverage *coverage, void (*fn)(void *ctx, const struct coverage_row *row), void *ctx)
{
	const struct row **rows = mem_alloc((coverage->rows.n + 1) * sizeof(*rows));
	const struct row *row;
	uint32_t at = 0;
	unsigned n = 0;
	while ((row = table_next(&coverage->rows, &at)) != NULL)
		rows[n++] = row;
	if (n)
		qsort(rows, n, sizeof(*rows), compare);
	for (unsigned i = 0; i < n; i++) {
		struct coverage_row out = rows[i]->out;
		out.state = rows[i]->exercised ? COVERAGE_EXERCISED : rows[i]->possible ? COVERAGE_NEVER : COVERAGE_CANNOT;
		if (out.state != COVERAGE_CANNOT)
			out.why = NULL;
		fn(ctx, &out);
	}
	free(rows);
}

const char *
coverage_kind_name(enum coverage_kind kind)
{
	static const char *const names[] = { "setting", "rule", "hook" };
	return names[kind];
}

const char *
coverage_state_name(enum coverage_state state)
{
	static const char *const names[] = { "never", "exercised", "cannot" };
	return names[state];
}
