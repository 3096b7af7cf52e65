/*
 * The engine's own resolution answers; what was beaten is told on the way. The
 * warnings are those of the load whose line is one of the lines shown, and the
 * arithmetic of this queue alone.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/explain.h"

#include "control/arithmetic.h"
#include "control/control_answers.h"
#include "policy/reaction.h"
#include "policy/setting.h"

struct beaten {
	const struct queue_settings *settings;
	const struct reaction_list  *rules;
	json_t *all;
};

/* `inherit` goes on with them. */
static bool
are_asked_too(const struct reaction_list *rules, const struct reaction_list *theirs)
{
	for (unsigned i = 0; reaction_list_n(theirs) && i < reaction_list_n(rules); i++)
		if (reaction_list_at(rules, i) == reaction_list_at(theirs, 0))
			return true;
	return false;
}

static void
on_beaten(void *ctx, enum setting_id id, const union setting_value *value, const struct where *where)
{
	const struct beaten *beaten = ctx;
	struct queue_settings scratch = { 0 };

	if (id == SETTING_backoff && are_asked_too(beaten->rules, value->REACTIONS))
		return;
	setting_put(&scratch, id, value);
	json_array_append_new(beaten->all, json_pack("{s:s, s:o, s:o, s:o, s:o}", "setting", setting_name(id),
						     "value", control_answer_setting(&scratch, id),
						     "declared_at", control_answer_where(where),
						     "scope", control_answer_text(where->scope),
						     "by", control_answer_where(&beaten->settings->where[id])));
}

static void
add_wider(json_t *all, const char *name, json_t *value, const struct where *where)
{
	json_array_append_new(all, json_pack("{s:s, s:o, s:o, s:o}", "name", name, "value", value,
					     "declared_at", control_answer_where(where), "scope", control_answer_text(where->scope)));
}

static json_t *
wider(const struct arithmetic_limits *limits)
{
	static const struct { enum scope_level level; const char *cap, *connects, *messages; } levels[] = {
		{ SCOPE_VMTA, "vmta.max_smtp_out", "vmta.max_connect_rate", "vmta.max_msg_rate" },
		{ SCOPE_POOL, "pool.max_smtp_out", "pool.max_connect_rate", "pool.max_msg_rate" },
		{ SCOPE_NODE, "node.max_smtp_out", "node.max_connect_rate", "node.max_msg_rate" },
	};
	json_t *all = json_array();

	for (size_t i = 0; i < countof(levels); i++) {
		const struct scope_limits *at = limits->by_level[levels[i].level];
		char text[48];

		if (at && at->max_smtp_out != UNLIMITED)
			add_wider(all, levels[i].cap, json_integer(at->max_smtp_out), &at->max_smtp_out_where);
		if (at && !rate_unlimited(&at->max_connect_rate)) {
			rate_format(&at->max_connect_rate, text);
			add_wider(all, levels[i].connects, json_string(text), &at->max_connect_rate_where);
		}
		if (at && !rate_unlimited(&at->max_msg_rate)) {
			rate_format(&at->max_msg_rate, text);
			add_wider(all, levels[i].messages, json_string(text), &at->max_msg_rate_where);
		}
	}
	return all;
}

/* ---- warnings ---- */

static bool
is_at(const struct policy_note *note, const struct where *where)
{
	return where->file && note->file && note->line == where->line && strcmp(note->file, where->file) == 0;
}

static bool
concerns(const struct policy_note *note, const struct explain *question, const struct queue_settings *settings)
{
	if (is_at(note, &question->vmta->where) || (question->provider && is_at(note, &question->provider->where)))
		return true;
	for (unsigned id = 0; id < SETTINGS_N; id++)
		if (is_at(note, &settings->where[id]))
			return true;
	for (unsigned i = 0; i < reaction_list_n(settings->backoff); i++)
		if (is_at(note, &reaction_list_at(settings->backoff, i)->where))
			return true;
	return false;
}

static void
add_warning(json_t *all, const struct policy_note *note)
{
	json_array_append_new(all, json_pack("{s:o, s:i, s:o}", "file", control_answer_text(note->file), "line", note->line,
					     "text", control_answer_text(note->text)));
}

static json_t *
warnings(const struct explain *question, const struct queue_settings *settings)
{
	struct policy_report report;
	json_t *all = json_array();

	for (unsigned i = 0; i < question->loaded->warnings_n; i++)
		if (concerns(&question->loaded->warnings[i], question, settings))
			add_warning(all, &question->loaded->warnings[i]);
	policy_report_init(&report);
	arithmetic_warn_queue(question->ruleset, question->site, settings, question->vmta, &report);
	for (unsigned i = 0; i < report.warnings_n; i++)
		add_warning(all, &report.warnings[i]);
	policy_report_fini(&report);
	return all;
}

/* ---- the whole ---- */

json_t *
explain(const struct explain *question)
{
	struct span domain = span_text(question->domain);
	struct queue_settings settings;
	const struct reaction_list *rules = ruleset_reactions(question->ruleset, question->provider, domain, question->vmta);
	struct beaten beaten = { &settings, rules, json_array() };
	struct arithmetic_limits limits;
	struct ceiling ceiling;
	char queue[DOMAIN_MAX + 300];

	ruleset_resolve_told(question->ruleset, question->provider, domain, question->vmta, &settings, on_beaten, &beaten);
	settings.backoff = rules;
	arithmetic_limits_of(question->ruleset, &settings, question->vmta, &limits);
	ceiling = ceiling_of(&settings, limits.by_level);
	snprintf(queue, sizeof(queue), "%s/%s", question->site, question->vmta->name);
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "queue", control_answer_text(queue),
			 "site", control_answer_text(question->site),
			 "vmta", control_answer_text(question->vmta->name),
			 "domain", *question->domain ? control_answer_text(question->domain) : json_null(),
			 "settings", control_answer_settings(&settings, true),
			 "overridden", beaten.all,
			 "wider", wider(&limits),
			 "ceiling", control_answer_ceiling(&ceiling),
			 "warnings", warnings(question, &settings));
}

json_t *
explain_warmup(const struct explain *question, wall_ms_t now)
{
	const struct ruleset_warmup *warmup = question->vmta->warmup;
	int64_t day;

	if (!warmup || !warmup_is_for(warmup, question->provider))
		return json_null();
	day = warmup_day(warmup, now);
	return json_pack("{s:I, s:I, s:o, s:o}",
			 "day", (json_int_t)day,
			 "per_day", (json_int_t)warmup_per_day(warmup, day),
			 "overflow", control_answer_text(warmup->overflow),
			 "declared_at", control_answer_where(&warmup->where));
}

const struct ruleset_vmta *
explain_default_vmta(const struct ruleset *ruleset)
{
	const struct ruleset_vmta *vmta = ruleset_vmta(ruleset, SPAN("default"));
	const struct ruleset_pool *pool = ruleset_pool(ruleset, SPAN("default"));

	if (vmta)
		return vmta;
	if (pool && pool->members_n)
		return pool->members[0].vmta;
	return ruleset->vmtas_n ? ruleset->vmtas[0] : NULL;
}
