/*
 * react - matched rules become overlays and a verdict.
 *
 * A rule with a threshold counts each match on the queue, and acts from the
 * match on that reaches it, for as long as the window holds that many. The
 * counts, like the overlays, are the queues' and outlive the session, the queue
 * and the process.
 *
 * A function of the policy gets the queue's methods; they end here, as if a rule
 * had said the same.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/react.h"

#include "policy/coverage.h"

struct every {
	struct timer  timer;
	struct react *react;
	unsigned      which;
	int64_t       us;
};

struct react {
	struct shard *shard;
	struct reaction_scratch *scratch;
	bool          looking;          /* the scratch is in use */
	struct every *every;
	unsigned      every_n;
	const struct reaction **told;   /* rules whose percents came to nothing: said once */
	unsigned      told_n;
};

/* One reply being looked at. */
struct call {
	struct react *react;
	const struct react_event *event;
	struct react_verdict *verdict;
	const struct reaction *rule;    /* whose function runs; NULL: on.reply */
	struct now now;
};

/* Tells rules of one name apart, also after a restart. */
static uint64_t
place_of(const struct reaction *rule)
{
	return hash_bytes(span_text(rule->where.file), 0) + (uint64_t)rule->where.line;
}

static bool
is_reached(const struct call *call, const struct reaction *rule)
{
	struct recent *recent = &call->react->shard->queues->recent;
	const char *queue = call->event->queue->name;

	recent_add(recent, queue, rule->name, place_of(rule), rule->after_window_us, call->now.mono);
	call->react->shard->queues->changed = true;
	return rule->after_n == 0 ||
	       recent_count(recent, queue, rule->name, place_of(rule), rule->after_window_us, call->now.mono) >= rule->after_n;
}

static enum overlay_scope
scope_of(const struct reaction *rule)
{
	switch (rule->scope) {
	case REACTION_SITE: return OVERLAY_SITE;
	case REACTION_VMTA: return OVERLAY_VMTA;
	default:            return OVERLAY_QUEUE;
	}
}

static void
lay(const struct call *call, enum overlay_scope scope, const struct overlay_spec *spec)
{
	const struct react_event *event = call->event;

	if (!queue_lay(event->queue, scope, spec, event->opened, call->now) && event->queue->queues->overlays.n < OVERLAYS_MAX)
		log_warning(call->react->shard->log, "%s: %u overlays lie there; \"%s\" is left out", event->queue->name,
			    OVERLAYS_PER_TARGET_MAX, spec->name);
}

/* What a cap or rate of the queue is at that scope, and so what a percent of it is taken of. */
static bool
is_unlimited(const struct queue *queue, enum overlay_scope scope, enum setting_id setting)
{
	static const enum scope_level levels[] = { SCOPE_QUEUE, SCOPE_SITE, SCOPE_VMTA };
	const struct queue_settings *own = queue_settings_now(queue);
	const struct scope_limits *limits = &queue->scopes[levels[scope]]->limits;

	switch (setting) {
	case SETTING_total_max_smtp_out:
	case SETTING_total_max_connect_rate:
	case SETTING_total_max_msg_rate:
		if (scope == OVERLAY_QUEUE)
			limits = &queue->scopes[SCOPE_SITE]->limits;
		break;
	default:
		break;
	}
	switch (setting) {
	case SETTING_max_smtp_out:
	case SETTING_total_max_smtp_out:         return limits->max_smtp_out == UNLIMITED;
	case SETTING_max_connect_rate:
	case SETTING_total_max_connect_rate:     return rate_unlimited(&limits->max_connect_rate);
	case SETTING_max_msg_rate:
	case SETTING_total_max_msg_rate:         return rate_unlimited(&limits->max_msg_rate);
	case SETTING_max_msg_per_connection:     return own->max_msg_per_connection == UNLIMITED;
	case SETTING_max_rcpt_per_message:       return own->max_rcpt_per_message == UNLIMITED;
	case SETTING_max_errors_per_connection:  return own->max_errors_per_connection == UNLIMITED;
	case SETTING_mx_connection_attempts:     return own->mx_connection_attempts == UNLIMITED;
	default:                                 return false;
	}
}

static void
tell_nothing(const struct call *call, const struct reaction *rule)
{
	struct react *react = call->react;

	for (unsigned i = 0; i < react->told_n; i++)
		if (react->told[i] == rule)
			return;
	react->told = mem_grow(react->told, (react->told_n + 1) * sizeof *react->told);
	react->told[react->told_n++] = rule;
	log_warning(react->shard->log, "%s: \"%s\" (%s:%d) lays nothing: a percent of \"unlimited\" is unlimited",
		    call->event->queue->name, rule->name, rule->where.file, rule->where.line);
}

/* All that it asks for are percents, and there is nothing that they could be of. */
static bool
comes_to_nothing(const struct call *call, const struct overlay_spec *spec, enum overlay_scope scope)
{
	if (spec->suspend || spec->reroute != NULL || spec->source != NULL)
		return false;
	for (unsigned i = 0; i < spec->tightenings_n; i++)
		if (!spec->tightenings[i].is_percent || !is_unlimited(call->event->queue, scope, spec->tightenings[i].setting))
			return false;
	return true;
}

static void
lay_rule(const struct call *call, const struct reaction *rule)
{
	struct overlay_spec spec = {
		.name = rule->name, .pattern = rule->pattern, .reply = call->event->reply->line, .where = rule->where,
		.lasts_us = rule->lasts_us, .tightenings = rule->tightenings, .tightenings_n = rule->tightenings_n,
		.recover_step = rule->recover_step, .recover_percent = rule->recover_percent,
		.recover_every_us = rule->recover_every_us, .suspend = rule->suspend, .reroute = rule->reroute,
	};

	if (rule->disable_source && call->event->source != NULL) {
		spec.source = call->event->source;
		call->verdict->source_off = true;
	}
	if (!comes_to_nothing(call, &spec, scope_of(rule)))
		lay(call, scope_of(rule), &spec);
	else if (spec.tightenings_n > 0)
		tell_nothing(call, rule);
}

static void
raise_floor(struct react_verdict *verdict, const struct reaction *rule)
{
	for (unsigned i = 0; i < rule->tightenings_n; i++) {
		const struct duration_list *list = &rule->tightenings[i].durations;
		struct duration_list *floor = &verdict->floor;
		unsigned n = floor->n > list->n ? floor->n : list->n;

		if (rule->tightenings[i].setting != SETTING_retry_recipients_after)
			continue;
		/* From the end, for a shorter list is read beyond its own. */
		for (unsigned k = n; k-- > 0;)
			floor->us[k] = max_i64(floor->n > 0 ? duration_list_at(floor, k) : 0, duration_list_at(list, k));
		floor->n = (uint8_t)n;
	}
}

static void
defer_queue(const struct call *call)
{
	call->verdict->defer = true;
	queue_defer(call->event->queue, call->event->reply, call->now);
}

/* ---- what a function may do ---- */

static void
spec_of_function(const struct call *call, const struct where *where, int64_t lasts_us, struct overlay_spec *spec)
{
	*spec = (struct overlay_spec){
		.name = call->rule != NULL ? call->rule->name : "on.reply",
		.pattern = call->rule != NULL ? call->rule->pattern : NULL,
		.reply = call->event->reply->line, .where = *where, .lasts_us = lasts_us,
	};
}

static void
on_limit(void *ctx, const struct tightening *tightenings, unsigned n, int64_t lasts_us, const struct where *where)
{
	struct overlay_spec spec;

	spec_of_function(ctx, where, lasts_us, &spec);
	spec.tightenings = tightenings;
	spec.tightenings_n = n;
	lay(ctx, OVERLAY_QUEUE, &spec);
}

static void
on_suspend(void *ctx, int64_t lasts_us, const struct where *where)
{
	struct overlay_spec spec;

	spec_of_function(ctx, where, lasts_us, &spec);
	spec.suspend = true;
	lay(ctx, OVERLAY_QUEUE, &spec);
}

static void
on_defer(void *ctx)
{
	defer_queue(ctx);
}

static unsigned
on_recent(void *ctx, const char *name, int64_t window_us)
{
	const struct call *call = ctx;

	return recent_count_named(&call->react->shard->queues->recent, call->event->queue->name, name, window_us, call->now.mono);
}

static unsigned
on_lift(void *ctx, const char *name)
{
	const struct call *call = ctx;

	return queue_lift(call->event->queue, name, call->now);
}

static void
run_function(struct call *call, const struct reaction *rule)
{
	static const struct policy_queue_ops ops = { on_limit, on_suspend, on_defer, on_recent, on_lift };
	const struct queue *queue = call->event->queue;
	struct policy_queue handle = { queue->name, queue->site->name, queue->vmta->name, &ops, call };
	struct policy_reply reply = { call->event->reply, call->event->stage };

	call->rule = rule;
	if (rule != NULL)
		policy_react(call->react->shard->policy, rule, &reply, &handle);
	else
		policy_on_reply(call->react->shard->policy, &reply, &handle);
	call->rule = NULL;
}

/* ---- the rules ---- */

/* False: it is under its threshold. */
static bool
on_match(void *ctx, const struct reaction *rule)
{
	struct call *call = ctx;
	struct react_verdict *verdict = call->verdict;

	if (!is_reached(call, rule))
		return false;
	if (call->react->shard->coverage != NULL)
		coverage_rule(call->react->shard->coverage, rule);
	if (rule->notify)
		log_warning(call->react->shard->log, "%s: \"%s\" (%s:%d) matches: %s", call->event->queue->name, rule->name,
			    rule->where.file, rule->where.line, call->event->reply->line);
	if (rule->scope == REACTION_RCPT)
		raise_floor(verdict, rule);
	else if (rule->lasts_us != 0)
		lay_rule(call, rule);
	if (rule->defer)
		defer_queue(call);
	if (rule->bounce > verdict->bounce)
		verdict->bounce = rule->bounce;
	verdict->skip_mx = verdict->skip_mx || rule->skip_mx;
	verdict->close = verdict->close || rule->close;
	verdict->reroute = verdict->reroute || rule->reroute != NULL;
	if (rule->function != 0)
		run_function(call, rule);
	return true;
}

/* Of the queue's site; where that is a roll-up, of one of its domains, as its settings are. */
static const struct reaction_list *
rules_of(struct queue *queue)
{
	const char *domain = queue->site->name;

	if (queue->reactions_known)
		return queue->reactions;
	if (!list_empty(&queue->routes))
		domain = list_first(&queue->routes, struct route, in_queue)->name;
	queue->reactions = ruleset_reactions(queue->queues->o.ruleset, queue->site->provider, span_text(domain), queue->vmta);
	queue->reactions_known = true;
	return queue->reactions;
}

void
react(struct react *react, const struct react_event *event, struct now now, struct react_verdict *out)
{
	struct call call = { .react = react, .event = event, .verdict = out, .now = now };
	const struct reaction_list *rules = rules_of(event->queue);

	*out = (struct react_verdict){ 0 };
	/* What a rule does may be told here again (a queue that is deferred has failed): once is enough. */
	if (react->looking)
		return;
	react->looking = true;
	if (rules != NULL)
		reaction_match(rules, react->scratch, event->stage, span_text(event->reply->line), on_match, &call);
	if (policy_has_hook(react->shard->policy, HOOK_REPLY))
		run_function(&call, NULL);
	react->looking = false;
}

/* ---- on.every ---- */

static void
on_every(void *ctx, struct now now)
{
	struct every *every = ctx;
	struct policy *policy = every->react->shard->policy;

	timer_start(&every->react->shard->loop->timers, &every->timer, now.mono + policy_every_us(policy, every->which));
	policy_run_every(policy, every->which);
}

static void
every_start(struct react *react)
{
	struct shard *shard = react->shard;

	react->every_n = policy_every_n(shard->policy);
	react->every = mem_alloc((react->every_n + 1) * sizeof *react->every);
	for (unsigned i = 0; i < react->every_n; i++) {
		struct every *every = &react->every[i];

		*every = (struct every){ .react = react, .which = i, .us = policy_every_us(shard->policy, i) };
		timer_init(&every->timer, on_every, every);
		timer_start(&shard->loop->timers, &every->timer, loop_now(shard->loop).mono + every->us);
	}
}

struct react *
react_new(struct shard *shard)
{
	struct react *react = mem_alloc(sizeof *react);

	react->shard = shard;
	react->scratch = reaction_scratch_new();
	every_start(react);
	return react;
}

/* One that is as often keeps its next time: an hour would never be over under a swap each half hour. */
static void
keep_time(struct react *react, struct every *before, unsigned before_n)
{
	struct timers *timers = &react->shard->loop->timers;

	for (unsigned i = 0; i < react->every_n; i++) {
		for (unsigned k = 0; k < before_n; k++) {
			if (before[k].us != react->every[i].us)
				continue;
			timer_start(timers, &react->every[i].timer, before[k].timer.node.key);
			before[k].us = 0;
			break;
		}
	}
	for (unsigned k = 0; k < before_n; k++)
		timer_stop(timers, &before[k].timer);
	free(before);
}

void
react_take_policy(struct react *react)
{
	struct every *before = react->every;
	unsigned before_n = react->every_n;

	check(!react->looking);
	react->told_n = 0;
	every_start(react);
	keep_time(react, before, before_n);
}

void
react_free(struct react *react)
{
	if (react == NULL)
		return;
	for (unsigned i = 0; i < react->every_n; i++)
		timer_stop(&react->shard->loop->timers, &react->every[i].timer);
	reaction_scratch_free(react->scratch);
	free(react->every);
	free(react->told);
	free(react);
}
