/*
 * A field is a row: its name and what takes its value. Names of settings are taken
 * as tightenings. What makes no sense together is looked at when the whole rule is
 * read, what concerns two rules (policy/reaction_doubt.c) when the list is, and
 * names of virtual MTAs (policy/circle.c) when the file is.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/declare_backoff.h"

#include "policy/declare.h"
#include "policy/grow.h"
#include "policy/lua_api.h"
#include "policy/reaction_book.h"
#include "policy/reaction_doubt.h"
#include "policy/tightening.h"
#include "policy/value.h"

#define RULES_MAX 10000
#define A_RULE    "{ \"421 RP-001\", lasts = \"1h\", max_smtp_out = 5 }"

struct rule {
	struct loader    *loader;
	struct reaction   reaction;
	const struct pattern *pattern;
	struct tightening tightenings[SETTINGS_N];
	struct where      wheres[SETTINGS_N];
	unsigned          tightenings_n;
	struct where      lasts_at, recover_at, floor_at, reroute_at;
	bool              has_lasts, has_recover, has_floor;
	int64_t           lasts_us;
	uint32_t          floor;
};

typedef bool take_fn(struct rule *rule, int index, const struct where *at, struct err *err);

static bool
nearest_error(struct err *err, const char *text, const char *what, const char *const *words, unsigned n, const char *instead)
{
	const char *near = setting_nearest(span_text(text), words, n);
	return err_set(err, ERR_PERM, "\"%.40s\" is no %s%s%s%s: write %s", text, what, near ? " (" : "", near ? near : "", near ? "?)" : "",
		       instead);
}

static bool
take_name(struct rule *rule, int index, const struct where *at, struct err *err)
{
	const char *text;
	if (!value_text(rule->loader->L, index, "a text", &text, err))
		return false;
	rule->reaction.name = arena_strdup(&rule->loader->ruleset->arena, text);
	return true;
}

#define STAGES_TEXT "connect, greeting, ehlo, starttls, auth, mail, rcpt, data or final"

static bool
add_stage(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct rule *rule = to;
	const char *words[REACTION_STAGES];
	for (unsigned stage = 0; stage < REACTION_STAGES; stage++) {
		words[stage] = smtp_stage_name(stage);
		if (!span_eq(text, span_text(words[stage])))
			continue;
		rule->reaction.stages |= 1u << stage;
		if (stage == SMTP_STAGE_CONNECT)
			rule->reaction.stages |= 1u << SMTP_STAGE_GREETING;
		return true;
	}
	char shown[41];
	snprintf(shown, sizeof(shown), "%.*s", (int)min_i64((int64_t)text.n, 40), text.p);
	return nearest_error(err, shown, "stage", words, countof(words), STAGES_TEXT);
}

static bool
take_at(struct rule *rule, int index, const struct where *at, struct err *err)
{
	if (lua_istable(rule->loader->L, index) && lua_objlen(rule->loader->L, index) == 0)
		return err_set(err, ERR_PERM, "the list is empty: write " STAGES_TEXT);
	return declare_list(rule->loader, index, at, rule, STAGES_TEXT, add_stage, err);
}

static bool
take_after(struct rule *rule, int index, const struct where *at, struct err *err)
{
	lua_State *L = rule->loader->L;
	char shown[48];
	struct span text = lua_type(L, index) == LUA_TSTRING ? span_text(lua_tostring(L, index)) : span_make("", 0);
	uint64_t n;
	if (lua_type(L, index) == LUA_TNUMBER)
		return err_set(err, ERR_PERM, "%.14g has no window: write \"%.14g/1h\"", lua_tonumber(L, index), lua_tonumber(L, index));
	if (span_u64(text, UINT32_MAX, &n) && n > 0)
		return err_set(err, ERR_PERM, "\"%u\" has no window: write \"%u/1h\"", (unsigned)n, (unsigned)n);
	struct rate_spec rate;
	if (!rate_parse(text, &rate, NULL) || rate_unlimited(&rate))
		return err_set(err, ERR_PERM, "%s is no threshold: write how many in which time, such as \"2/1h\"", value_shown(L, index, shown));
	rule->reaction.after_n = rate.count;
	rule->reaction.after_window_us = rate.window_us;
	return true;
}

static bool
take_lasts(struct rule *rule, int index, const struct where *at, struct err *err)
{
	rule->has_lasts = true;
	rule->lasts_at = *at;
	return tightening_lasts(rule->loader->L, index, &rule->lasts_us, err);
}

/* "+1/10m", "10%/h" */
static bool
parse_recover(struct span text, struct reaction *out)
{
	struct rate_spec rate;
	size_t slash = span_find(text, '/');
	if (slash == SIZE_MAX || slash == 0)
		return false;
	if (text.p[0] == '+') {
		if (!rate_parse(span_from(text, 1), &rate, NULL) || rate_unlimited(&rate))
			return false;
		out->recover_step = rate.count;
	} else {
		char each[40];
		snprintf(each, sizeof(each), "1%.*s", (int)min_i64((int64_t)(text.n - slash), 30), text.p + slash);
		if (!percent_parse(span_first(text, slash), &out->recover_percent, NULL) || !(out->recover_percent > 0) ||
		    !rate_parse(span_text(each), &rate, NULL) || rate.count != 1)
			return false;
	}
	out->recover_every_us = rate.window_us;
	return true;
}

static bool
take_recover(struct rule *rule, int index, const struct where *at, struct err *err)
{
	lua_State *L = rule->loader->L;
	char shown[48];
	rule->has_recover = true;
	rule->recover_at = *at;
	if (lua_type(L, index) == LUA_TSTRING && parse_recover(span_text(lua_tostring(L, index)), &rule->reaction))
		return true;
	return err_set(err, ERR_PERM, "%s is no way back: write a step and how often, such as \"+1/10m\" or \"10%%/h\"", value_shown(L, index, shown));
}

static bool
take_floor(struct rule *rule, int index, const struct where *at, struct err *err)
{
	rule->has_floor = true;
	rule->floor_at = *at;
	return value_count(rule->loader->L, index, false, &rule->floor, err);
}

static bool
take_bounce(struct rule *rule, int index, const struct where *at, struct err *err)
{
	static const char *const words[] = { "recipient", "queue" };
	lua_State *L = rule->loader->L;
	char shown[48];
	const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
	if (!text)
		return err_set(err, ERR_PERM, "%s will not do: write \"recipient\" or \"queue\"", value_shown(L, index, shown));
	if (strcmp(text, words[0]) == 0)
		rule->reaction.bounce = REACTION_BOUNCE_RCPT;
	else if (strcmp(text, words[1]) == 0)
		rule->reaction.bounce = REACTION_BOUNCE_QUEUE;
	else
		return nearest_error(err, text, "answer", words, countof(words), "\"recipient\" or \"queue\"");
	return true;
}

static bool
take_scope(struct rule *rule, int index, const struct where *at, struct err *err)
{
	static const char *const words[] = {
		[REACTION_QUEUE] = "queue", [REACTION_SITE] = "site", [REACTION_VMTA] = "vmta", [REACTION_RCPT] = "recipient",
	};
	lua_State *L = rule->loader->L;
	char shown[48];
	const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
	if (!text)
		return err_set(err, ERR_PERM, "%s will not do: write \"queue\", \"site\", \"vmta\" or \"recipient\"", value_shown(L, index, shown));
	for (unsigned i = 0; i < countof(words); i++) {
		if (strcmp(text, words[i]) != 0)
			continue;
		rule->reaction.scope = (enum reaction_scope)i;
		return true;
	}
	return nearest_error(err, text, "scope", words, countof(words), "\"queue\", \"site\", \"vmta\" or \"recipient\"");
}

static bool
take_reroute(struct rule *rule, int index, const struct where *at, struct err *err)
{
	const char *text;
	if (!value_text(rule->loader->L, index, "the name of a virtual MTA or pool", &text, err))
		return false;
	rule->reaction.reroute = arena_strdup(&rule->loader->ruleset->arena, text);
	rule->reroute_at = *at;
	return true;
}

#define FLAG(name) \
	static bool take_##name(struct rule *rule, int index, const struct where *at, struct err *err) \
	{ \
		return value_bool(rule->loader->L, index, &rule->reaction.name, err); \
	}
FLAG(suspend)
FLAG(defer)
FLAG(skip_mx)
FLAG(close)
FLAG(notify)
FLAG(stop)
FLAG(disable_source)

static const struct { const char *name; take_fn *take; } fields[] = {
	{ "name", take_name },          { "at", take_at },              { "after", take_after },
	{ "lasts", take_lasts },        { "recover", take_recover },    { "floor", take_floor },
	{ "suspend", take_suspend },    { "defer", take_defer },        { "bounce", take_bounce },
	{ "reroute", take_reroute },    { "disable_source", take_disable_source },
	{ "skip_mx", take_skip_mx },    { "close", take_close },        { "scope", take_scope },
	{ "notify", take_notify },      { "stop", take_stop },
};

static void
unknown_field(struct rule *rule, const char *name, const struct where *at)
{
	const char *words[countof(fields) + SETTINGS_N];
	unsigned n = tightening_names(words);
	for (size_t i = 0; i < countof(fields); i++)
		words[n++] = fields[i].name;
	const char *near = setting_nearest(span_text(name), words, n);
	loader_error(rule->loader, at, "backoff: %.100s: no such field of a reaction%s%s%s", name, near ? " (" : "", near ? near : "",
		     near ? "?)" : "");
}

static void
read_field(struct rule *rule, const char *name, int index, const struct where *at)
{
	struct err err = { 0 };
	enum setting_id id = setting_find(span_text(name));
	size_t i = 0;
	while (i < countof(fields) && strcmp(fields[i].name, name) != 0)
		i++;
	bool ok = true;
	if (i < countof(fields)) {
		ok = fields[i].take(rule, index, at, &err);
	} else if (id != SETTINGS_N) {
		ok = tightening_read(rule->loader->L, index, id, &rule->tightenings[rule->tightenings_n], &err);
		rule->wheres[rule->tightenings_n++] = *at;
	} else {
		unknown_field(rule, name, at);
	}
	if (!ok)
		loader_error(rule->loader, at, "backoff: %s: %s", name, err.text);
}

/* The texts and functions by position: the pattern, and what decides by itself. */
static void
read_position(struct rule *rule, uint32_t position, int index, const struct where *at)
{
	struct loader *loader = rule->loader;
	lua_State *L = loader->L;
	struct reaction *reaction = &rule->reaction;
	struct err err = { 0 };
	const char *text;
	char shown[48];
	if (position == 1) {
		reaction->where = *at;
		if (!value_text(L, index, "a pattern such as \"421 RP-001\"", &text, &err)) {
			loader_error(loader, at, "backoff: %s", err.text);
			return;
		}
		reaction->pattern = arena_strdup(&loader->ruleset->arena, text);
		rule->pattern = reaction_book_pattern(loader->ruleset->reactions, span_text(reaction->pattern), &err);
		if (!rule->pattern)
			loader_error(loader, at, "backoff: \"%.200s\" is no pattern: %s; to mean a character itself, write \\\\ before it",
				     text, err.text);
	} else if (position == 2 && lua_isfunction(L, index)) {
		lua_pushvalue(L, index);
		reaction->function = luaL_ref(L, LUA_REGISTRYINDEX);
	} else if (position == 2) {
		loader_error(loader, at, "backoff: %s will not do: behind the pattern stands a function, or name = value",
			     value_shown(L, index, shown));
	} else {
		loader_error(loader, at, "backoff: %s stands alone: write name = value", value_shown(L, index, shown));
	}
}

static bool
gives_back(const struct rule *rule)
{
	for (unsigned i = 0; i < rule->tightenings_n; i++)
		if (setting_table[rule->tightenings[i].setting].kind == SETTING_COUNT || setting_table[rule->tightenings[i].setting].kind == SETTING_RATE)
			return true;
	return false;
}

static bool
has_percent(const struct rule *rule)
{
	for (unsigned i = 0; i < rule->tightenings_n; i++)
		if (rule->tightenings[i].is_percent)
			return true;
	return false;
}

/* What a recipient cannot bear. */
static void
check_recipient(struct rule *rule)
{
	const struct reaction *r = &rule->reaction;
	const char *word = r->suspend ? "suspend" : r->disable_source ? "disable_source" : r->reroute ? "reroute" : NULL;
	const struct where *at = &r->where;
	for (unsigned i = 0; i < rule->tightenings_n && !word; i++) {
		if (rule->tightenings[i].setting == SETTING_retry_recipients_after)
			continue;
		word = setting_name(rule->tightenings[i].setting);
		at = &rule->wheres[i];
	}
	if (word)
		loader_error(rule->loader, at, "backoff: %s: lies on no recipient: write scope = \"queue\", or retry_recipients_after", word);
}

static const char *
what_lasts(const struct rule *rule)
{
	const struct reaction *r = &rule->reaction;
	if (r->scope != REACTION_RCPT && rule->tightenings_n)
		return setting_name(rule->tightenings[0].setting);
	return r->suspend ? "suspend" : r->reroute ? "reroute" : r->disable_source ? "disable_source" : NULL;
}

static void
check_rule(struct rule *rule)
{
	struct loader *loader = rule->loader;
	struct reaction *r = &rule->reaction;
	const char *lasting = what_lasts(rule);
	if (r->scope == REACTION_RCPT)
		check_recipient(rule);
	if (!rule->tightenings_n && !r->suspend && !r->defer && !r->skip_mx && !r->close && !r->notify && !r->stop && !r->disable_source &&
	    !r->bounce && !r->reroute && !r->function)
		loader_error(loader, &r->where, "backoff: \"%.100s\" does nothing: write what it is to do, as in " A_RULE, r->pattern);
	else if (lasting && !rule->has_lasts)
		loader_error(loader, &r->where, "backoff: lasts is missing: write how long %s is to hold, such as lasts = \"1h\" or \"forever\"",
			     lasting);
	else if (!lasting && rule->has_lasts && r->scope != REACTION_RCPT)
		loader_warning(loader, &rule->lasts_at, "backoff: lasts: has no effect: nothing of this rule stays");
	if (rule->has_floor && !has_percent(rule))
		loader_error(loader, &rule->floor_at, "backoff: floor: belongs to a percent: write max_smtp_out = \"50%%\", floor = 2");
	if (rule->has_recover && !gives_back(rule))
		loader_error(loader, &rule->recover_at, "backoff: recover: gives back caps and rates, and there is none: write max_smtp_out = 5");
	if (rule->has_recover && rule->lasts_us == DURATION_NEVER)
		loader_warning(loader, &rule->recover_at, "backoff: recover: has no effect: it begins when lasts is over");
	r->lasts_us = lasting ? rule->lasts_us : 0;
	if (!r->name)
		r->name = r->pattern;
}

static int
by_setting(const void *a, const void *b)
{
	const struct tightening *x = a, *y = b;
	return (x->setting > y->setting) - (x->setting < y->setting);
}

static void
keep_tightenings(struct rule *rule)
{
	struct tightening *kept = arena_alloc(&rule->loader->ruleset->arena, (rule->tightenings_n + 1) * sizeof(*kept));
	for (unsigned i = 0; i < rule->tightenings_n; i++) {
		kept[i] = rule->tightenings[i];
		if (rule->has_floor)
			kept[i].floor = rule->floor;
	}
	/* Lua's tables have no order. */
	qsort(kept, rule->tightenings_n, sizeof(*kept), by_setting);
	rule->reaction.tightenings = kept;
	rule->reaction.tightenings_n = rule->tightenings_n;
}

/* Reads the table at `index`. */
static void
read_rule(struct rule *rule, int index, const struct where *declared)
{
	struct loader *loader = rule->loader;
	lua_State *L = loader->L;
	char shown[48];
	rule->reaction.where = *declared;
	luaL_checkstack(L, 10, "tables too deep");
	/* By number: a hole before the function is no reason to miss it. */
	for (uint32_t i = 1; i <= lua_objlen(L, index); i++) {
		struct where at = loader_place(loader, index, NULL, i, declared);
		lua_rawgeti(L, index, (int)i);
		read_position(rule, i, lua_gettop(L), &at);
		lua_pop(L, 1);
	}
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		if (lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) >= 1 && lua_tonumber(L, -2) <= (double)lua_objlen(L, index))
			continue;
		if (lua_type(L, -2) != LUA_TSTRING) {
			loader_error(loader, declared, "backoff: [%s]: no such field of a reaction", value_shown(L, lua_gettop(L) - 1, shown));
			continue;
		}
		const char *name = lua_tostring(L, -2);
		struct where at = loader_place(loader, index, name, 0, declared);
		read_field(rule, name, lua_gettop(L), &at);
	}
	if (lua_objlen(L, index) == 0)
		loader_error(loader, declared, "backoff: a reaction begins with its pattern: write " A_RULE);
}

static void
note_reroute(struct rule *rule)
{
	struct loader *loader = rule->loader;
	if (rule->reaction.reroute)
		*GROW(&loader->ruleset->arena, loader->reroutes, loader->reroutes_n) =
			(struct loader_reroute){ rule->reaction.reroute, rule->reroute_at, false, false };
}

static void
read_rules(struct loader *loader, int index, const struct where *declared, struct reaction_part *part)
{
	lua_State *L = loader->L;
	struct rule *rule = mem_alloc(sizeof(*rule));
	for (uint32_t i = 1; i <= part->n; i++) {
		struct where at = loader_place(loader, index, NULL, i, declared);
		char shown[48];
		unsigned errors = loader->report->errors_n;
		*rule = (struct rule){ .loader = loader };
		lua_rawgeti(L, index, (int)i);
		if (lua_istable(L, -1)) {
			read_rule(rule, lua_gettop(L), &at);
			if (errors == loader->report->errors_n)
				check_rule(rule);
		} else {
			loader_error(loader, &at, "backoff: %s is no reaction: write " A_RULE, value_shown(L, lua_gettop(L), shown));
		}
		lua_pop(L, 1);
		keep_tightenings(rule);
		note_reroute(rule);
		part->reactions[i - 1] = rule->reaction;
		part->patterns[i - 1] = rule->pattern;
	}
	free(rule);
}

/* `inherit = true`, and nothing else that has a name. */
static void
read_keys(struct loader *loader, int index, const struct where *declared, struct reaction_part *part)
{
	lua_State *L = loader->L;
	char shown[48];
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		struct err err = { 0 };
		if (lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) >= 1 && lua_tonumber(L, -2) <= part->n)
			continue;
		const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
		struct where at = key ? loader_place(loader, index, key, 0, declared) : *declared;
		if (!key || strcmp(key, "inherit") != 0)
			loader_error(loader, &at, "backoff: %s: the list has reactions, and inherit = true: write { " A_RULE " }",
				     key ? key : value_shown(L, lua_gettop(L) - 1, shown));
		else if (!value_bool(L, lua_gettop(L), &part->inherit, &err))
			loader_error(loader, &at, "backoff: inherit: %s", err.text);
	}
}

const struct reaction_list *
declare_backoff(struct loader *loader, int index, const struct where *at)
{
	lua_State *L = loader->L;
	char shown[48];
	unsigned errors = loader->report->errors_n;
	if (!lua_istable(L, index)) {
		loader_error(loader, at, "backoff: %s will not do: write a list of reactions: { " A_RULE " }", value_shown(L, index, shown));
		return NULL;
	}
	size_t n = lua_objlen(L, index);
	if (n > RULES_MAX) {
		loader_error(loader, at, "backoff: %zu reactions are too many: write at most %d", n, RULES_MAX);
		return NULL;
	}
	struct arena *arena = &loader->ruleset->arena;
	struct reaction_part part = { .n = (unsigned)n, .where = *at };
	part.reactions = arena_alloc(arena, (n + 1) * sizeof(*part.reactions));
	part.patterns = arena_alloc(arena, (n + 1) * sizeof(*part.patterns));
	luaL_checkstack(L, 10, "tables too deep");
	read_rules(loader, index, at, &part);
	read_keys(loader, index, at, &part);
	if (errors != loader->report->errors_n)
		return NULL;
	reaction_doubt(loader, &part);
	return &reaction_book_add(loader->ruleset->reactions, &part)->alone;
}
