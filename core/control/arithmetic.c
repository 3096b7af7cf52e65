/*
 * Each limit is held against what all the others of its queue let through, with
 * itself taken away: a queue's against all levels, those of a virtual MTA and a pool
 * against the wider ones. A site's total is shared by its queues: against what they
 * may send together, and against what bounds the site as a whole.
 *
 * An hour decides, and the limit's own window: 50/m is reached in each connection of
 * 100 messages, though only 12 of those begin in an hour.
 *
 * A rate with a burst lets a transaction take several recipients, which a message
 * rate counts one by one: then a connection may carry as many more.
 *
 * Lines are kept by place and name. The first queue that cannot reach one writes the
 * warning, the first that can reach it strikes it out for good.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/arithmetic.h"

#include <math.h>

#include "policy/notes.h"
#include "policy/walk.h"

#define HASH_SEED UINT64_C(0x736c75696365)      /* keys are the policy's own */

enum kind { SESSIONS, CONNECTS, MESSAGES, KINDS_N };

static const char *const kind_names[KINDS_N] = { "max_smtp_out", "max_connect_rate", "max_msg_rate" };
static const char *const prefixes[SCOPES_N] = { "", "total_", "vmta.", "pool.", "node." };

struct line {
	struct where where;
	bool         reached;
	char         text[600];
	char         key[];
};

/* What keeps a limit from being reached. */
struct bound {
	double amount;                  /* sessions, or an hour; INFINITY: nothing does */
	double in_window;               /* of the limit that is looked at, at the very most */
	char   by[200];                 /* "vmta.max_msg_rate (500/h, x.lua:2)" */
};

/* A site's virtual MTAs, while they are gone through. */
struct turn {
	double together;                /* what they may send, without the total, */
	double together_in_window;      /* and in the window of the total */
	struct bound shared;            /* what bounds the site as a whole */
	struct where where;             /* of the total */
	struct rate_spec total;
	bool   differs;                 /* some virtual MTA has another total */
};

struct look {
	const struct ruleset *ruleset;
	struct arena arena;
	struct table lines;
	struct turn  turn;
};

void
arithmetic_limits_of(const struct ruleset *ruleset, const struct queue_settings *settings, const struct ruleset_vmta *vmta,
		     struct arithmetic_limits *out)
{
	*out = (struct arithmetic_limits){
		.of = {
			[SCOPE_QUEUE] = scope_limits_of_queue(settings),
			[SCOPE_SITE] = scope_limits_of_site(settings),
			[SCOPE_VMTA] = scope_limits_of_vmta(vmta),
			[SCOPE_NODE] = scope_limits_of_node(&ruleset->node),
		},
	};
	for (unsigned level = 0; level < SCOPES_N; level++)
		out->by_level[level] = level == SCOPE_POOL && !vmta->limit_pool ? NULL : &out->of[level];
	if (vmta->limit_pool)
		out->of[SCOPE_POOL] = scope_limits_of_pool(vmta->limit_pool);
}

/* ---- lines ---- */

static struct line *
line_of(struct look *look, const struct where *where, const char *name)
{
	char key[1200];
	snprintf(key, sizeof(key), "%d:%s:%.1000s", where->line, name, where->file);
	struct line *line = table_get(&look->lines, span_text(key));
	if (line)
		return line;
	line = arena_alloc(&look->arena, sizeof(*line) + strlen(key) + 1);
	line->where = *where;
	memcpy(line->key, key, strlen(key) + 1);
	table_put(&look->lines, span_text(line->key), line);
	return line;
}

static void
value_text(const struct scope_limits *limits, enum kind kind, char out[48])
{
	if (kind == SESSIONS)
		snprintf(out, 48, "%u", limits->max_smtp_out);
	else
		rate_format(kind == CONNECTS ? &limits->max_connect_rate : &limits->max_msg_rate, out);
}

static const struct where *
where_of(const struct scope_limits *limits, enum kind kind)
{
	return kind == SESSIONS ? &limits->max_smtp_out_where : kind == CONNECTS ? &limits->max_connect_rate_where :
	       &limits->max_msg_rate_where;
}

static const struct rate_spec *
rate_of(const struct scope_limits *limits, enum kind kind)
{
	return kind == CONNECTS ? &limits->max_connect_rate : &limits->max_msg_rate;
}

static double
amount_of(const struct scope_limits *limits, enum kind kind)
{
	if (kind == SESSIONS)
		return limits->max_smtp_out == UNLIMITED ? INFINITY : limits->max_smtp_out;
	return rate_unlimited(rate_of(limits, kind)) ? INFINITY : ceiling_best_hour(rate_of(limits, kind));
}

/* What a rate lets through in its best window of another's length: one, or its burst, and the paced rest. */
static double
most_in(const struct rate_spec *rate, int64_t window_us)
{
	double windows = (double)window_us / (double)rate->window_us;
	double most = (rate->burst ? rate->burst : 1) + (double)(rate->count - rate->burst) * windows;
	return fmin(most, rate->count * ceil(windows));
}

static void
number_text(double amount, char out[48])
{
	snprintf(out, 48, amount == floor(amount) ? "%.0f" : "%.2f", amount);
}

/* rate: NULL for a cap, which is `amount`. */
static void
judge(struct look *look, const struct where *where, const char *name, const struct rate_spec *rate, double amount,
      const struct bound *bound, enum kind kind, const char *queue)
{
	char most[48], value[48];
	if (!where->file)
		return;
	struct line *line = line_of(look, where, name);
	if (bound->amount >= amount * (1 - 1e-9) || (rate && bound->in_window >= rate->count * (1 - 1e-9))) {
		line->reached = true;
		return;
	}
	if (line->text[0])
		return;
	number_text(bound->amount, most);
	if (rate)
		rate_format(rate, value);
	else
		number_text(amount, value);
	snprintf(line->text, sizeof(line->text), "%s%s%s: %s can never be reached: %s allows %s%s (%s)",
		 where->scope ? where->scope : "", where->scope ? ": " : "", name, value, bound->by, most,
		 kind == SESSIONS ? " sessions" : kind == CONNECTS ? " connects an hour" : " messages an hour", queue);
}

/* ---- bounds ---- */

static void
place_text(const struct where *where, char out[128])
{
	if (where->file)
		snprintf(out, 128, "%.100s:%d", where->file, where->line);
	else
		snprintf(out, 128, "built-in");
}

static void
describe(struct bound *bound, const struct ceiling *ceiling, const struct scope_limits *const limits[SCOPES_N],
	 const struct queue_settings *settings, int64_t window_us)
{
	enum kind kind = ceiling->by_connects ? CONNECTS : MESSAGES;
	char value[48], place[128];
	bound->amount = bound->in_window = INFINITY;
	if (!ceiling->bounded)
		return;
	bound->amount = ceiling->msgs_per_hour;
	bound->in_window = most_in(rate_of(limits[ceiling->level], kind), window_us) *
			   (ceiling->by_connects ? settings->max_msg_per_connection : 1);
	value_text(limits[ceiling->level], kind, value);
	place_text(where_of(limits[ceiling->level], kind), place);
	if (ceiling->by_connects)
		snprintf(bound->by, sizeof(bound->by), "%s (%s × %u, %s)", ceiling->bound_by, value, settings->max_msg_per_connection, place);
	else
		snprintf(bound->by, sizeof(bound->by), "%s (%s, %s)", ceiling->bound_by, value, place);
}

/* Of messages: what the levels from `level` on let through without its own message rate. */
static void
bound_messages(const struct queue_settings *settings, const struct arithmetic_limits *limits, enum scope_level level,
	       struct bound *out)
{
	const struct scope_limits *by_level[SCOPES_N] = { NULL };
	struct scope_limits without = limits->of[level];
	struct queue_settings carried = *settings;
	uint32_t burst = without.max_msg_rate.burst;
	if (burst > 1 && carried.max_msg_per_connection != UNLIMITED) {
		uint64_t several = burst < settings->max_rcpt_per_message ? burst : settings->max_rcpt_per_message;
		several *= carried.max_msg_per_connection;
		carried.max_msg_per_connection = several < UNLIMITED ? (uint32_t)several : UNLIMITED;
	}
	int64_t window_us = without.max_msg_rate.window_us;
	without.max_msg_rate = (struct rate_spec){ 0 };
	for (unsigned i = level; i < SCOPES_N; i++)
		by_level[i] = limits->by_level[i];
	by_level[level] = &without;
	/* The virtual MTA and its pool bound their share of a site's total, not all of it. */
	if (level == SCOPE_SITE)
		by_level[SCOPE_VMTA] = by_level[SCOPE_POOL] = NULL;
	struct ceiling ceiling = ceiling_of(&carried, by_level);
	describe(out, &ceiling, by_level, &carried, window_us);
}

/* Of sessions and connects: the tightest of the wider levels. */
static void
bound_by_wider(const struct arithmetic_limits *limits, enum scope_level level, enum kind kind, struct bound *out)
{
	out->amount = out->in_window = INFINITY;
	for (unsigned i = level + 1; i < SCOPES_N; i++) {
		const struct scope_limits *wider = limits->by_level[i];
		char value[48], place[128];
		if (!wider || amount_of(wider, kind) >= out->amount)
			continue;
		out->amount = amount_of(wider, kind);
		if (kind != SESSIONS)
			out->in_window = most_in(rate_of(wider, kind), rate_of(limits->by_level[level], kind)->window_us);
		value_text(wider, kind, value);
		place_text(where_of(wider, kind), place);
		snprintf(out->by, sizeof(out->by), "%s%s (%s, %s)", prefixes[i], kind_names[kind], value, place);
	}
}

/* ---- a queue ---- */

static void
look_at_level(struct look *look, const struct queue_settings *settings, const struct arithmetic_limits *limits,
	      enum scope_level level, const char *queue)
{
	const struct scope_limits *own = limits->by_level[level];
	for (unsigned kind = 0; own && kind < KINDS_N; kind++) {
		struct bound bound = { 0 };
		if (isinf(amount_of(own, kind)))
			continue;
		if (kind == MESSAGES)
			bound_messages(settings, limits, level, &bound);
		else
			bound_by_wider(limits, level, kind, &bound);
		judge(look, where_of(own, kind), kind_names[kind], kind == SESSIONS ? NULL : rate_of(own, kind), amount_of(own, kind),
		      &bound, kind, queue);
	}
}

static void
turn_begin(struct turn *turn, const struct scope_limits *site)
{
	*turn = (struct turn){ .where = site->max_msg_rate_where, .total = site->max_msg_rate };
}

/* What this queue, and those that are like it, add. */
static void
turn_add(struct turn *turn, const struct queue_settings *settings, const struct arithmetic_limits *limits, unsigned alike)
{
	const struct where *where = &limits->of[SCOPE_SITE].max_msg_rate_where;
	const struct scope_limits *by_level[SCOPES_N];
	bool at_once = limits->of[SCOPE_SITE].max_msg_rate.burst > 1;
	struct bound own = { 0 }, shared = { 0 };
	memcpy(by_level, limits->by_level, sizeof(by_level));
	by_level[SCOPE_SITE] = NULL;
	struct ceiling ceiling = ceiling_of(settings, by_level);
	describe(&own, &ceiling, by_level, settings, turn->total.window_us);
	turn->together += at_once ? INFINITY : own.amount * alike;
	turn->together_in_window += at_once ? INFINITY : own.in_window * alike;
	bound_messages(settings, limits, SCOPE_SITE, &shared);
	if (shared.amount > turn->shared.amount)
		turn->shared = shared;
	turn->differs = turn->differs || where->file != turn->where.file || where->line != turn->where.line;
}

static void
turn_end(struct look *look, const char *queue)
{
	const struct turn *turn = &look->turn;
	struct bound bound = turn->shared;
	if (rate_unlimited(&turn->total))
		return;
	if (turn->together < bound.amount) {
		bound.amount = turn->together;
		bound.in_window = turn->together_in_window;
		snprintf(bound.by, sizeof(bound.by), "what its virtual MTAs may send together");
	}
	if (turn->differs)
		bound.amount = INFINITY;
	judge(look, &turn->where, "total_max_msg_rate", &turn->total, ceiling_best_hour(&turn->total), &bound, MESSAGES, queue);
}

static void
look_at_queue(struct look *look, const struct queue_settings *settings, const struct arithmetic_limits *limits, const char *queue)
{
	look_at_level(look, settings, limits, SCOPE_QUEUE, queue);
	look_at_level(look, settings, limits, SCOPE_VMTA, queue);
	look_at_level(look, settings, limits, SCOPE_POOL, queue);
}

static void
on_queue(void *ctx, const struct walk_queue *queue)
{
	struct look *look = ctx;
	const struct walk_site *site = queue->site;
	struct queue_settings settings;
	struct arithmetic_limits limits;
	char name[DOMAIN_MAX + 200];
	ruleset_resolve(look->ruleset, site->provider, site->domain, queue->vmta, &settings);
	arithmetic_limits_of(look->ruleset, &settings, queue->vmta, &limits);
	if (site->provider)
		snprintf(name, sizeof(name), "%.190s/%.190s", site->provider->name, queue->vmta->name);
	else if (site->domain.n && site->domain.p[0] == '-')
		snprintf(name, sizeof(name), "*%.*s/%.190s", (int)site->domain.n - 1, site->domain.p + 1, queue->vmta->name);
	else
		snprintf(name, sizeof(name), "%.*s/%.190s", site->domain.n ? (int)site->domain.n : 1, site->domain.n ? site->domain.p : "*",
			 queue->vmta->name);
	look_at_queue(look, &settings, &limits, name);
	/* Blocks within a virtual MTA or a pool show no whole site: what they say of its total is taken as it is. */
	if (queue->first)
		turn_begin(&look->turn, &limits.of[SCOPE_SITE]);
	turn_add(&look->turn, &settings, &limits, queue->alike);
	look->turn.differs = look->turn.differs || !queue->of_all;
	if (queue->last)
		turn_end(look, name);
}

/* ---- what came of it ---- */

static void
look_init(struct look *look, const struct ruleset *ruleset)
{
	*look = (struct look){ .ruleset = ruleset };
	arena_init(&look->arena);
	table_init(&look->lines, HASH_SEED);
}

static void
look_tell(struct look *look, struct policy_report *report)
{
	struct line *line;
	uint32_t at = 0;
	while ((line = table_next(&look->lines, &at)) != NULL)
		if (!line->reached && line->text[0])
			notes_warning(report, line->where.file, line->where.line, "%s", line->text);
	notes_sort(report);
	table_fini(&look->lines);
	arena_fini(&look->arena);
}

void
arithmetic_warn(const struct ruleset *ruleset, struct policy_report *report)
{
	struct look look;
	look_init(&look, ruleset);
	if (!walk_queues(ruleset, on_queue, &look)) {
		notes_warning(report, ruleset->file, 0, "over %u queues: whether their rates can be reached was not looked at", WALK_QUEUES_MAX);
		table_fini(&look.lines);
		table_init(&look.lines, HASH_SEED);
	}
	look_tell(&look, report);
}

void
arithmetic_warn_queue(const struct ruleset *ruleset, const char *site, const struct queue_settings *settings,
		      const struct ruleset_vmta *vmta, struct policy_report *report)
{
	struct arithmetic_limits limits;
	struct look look;
	char name[600];
	look_init(&look, ruleset);
	snprintf(name, sizeof(name), "%.300s/%.200s", site, vmta->name);
	arithmetic_limits_of(ruleset, settings, vmta, &limits);
	look_at_queue(&look, settings, &limits, name);
	look_tell(&look, report);
}
