/*
 * warmup = { … } of a virtual MTA. Names are only noted here; warmup_check() looks
 * them up when all is declared.
 *
 * What the rest goes by must not warm up itself: two that did could hand the same
 * mail to each other. In a pool that the virtual MTA is in, the others are meant.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/declare_warmup.h"

#include <time.h>

#include "policy/grow.h"
#include "policy/value.h"

#define EXAMPLE "warmup = { start = \"2026-01-01\", per_day = { 50, 100, 200 }, overflow = \"pool\" }"

static bool
take_start(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	struct ruleset_warmup *warmup = to;
	const char *text;
	int year, month, day, end = 0;
	if (!value_text(loader->L, index, "a day such as \"2026-01-01\"", &text, err))
		return false;
	if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &end) == 3 && end == 10 && text[end] == '\0' && year >= 1970) {
		struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };
		warmup->start.ms = (int64_t)timegm(&tm) * MS_PER_S;
		/* The 31st of February is the 3rd of March. */
		if (tm.tm_mon == month - 1 && tm.tm_mday == day)
			return true;
	}
	return err_set(err, ERR_PERM, "\"%.40s\" is no day: write the year, the month and the day, such as \"2026-01-01\"", text);
}

static bool
take_per_day(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	struct ruleset_warmup *warmup = to;
	lua_State *L = loader->L;
	char shown[48];
	if (!lua_istable(L, index) || lua_objlen(L, index) == 0)
		return err_set(err, ERR_PERM, "%s will not do: write how many on each day: { 50, 100, 200 }", value_shown(L, index, shown));
	for (uint32_t i = 1; i <= lua_objlen(L, index) && i <= WARMUP_DAYS_MAX + 1; i++) {
		struct err own = { 0 };
		uint32_t n = 0;
		lua_rawgeti(L, index, (int)i);
		bool ok = value_count(L, lua_gettop(L), false, &n, &own);
		lua_pop(L, 1);
		if (!ok)
			return err_set(err, ERR_PERM, "day %u: %.200s", i, own.text);
		if (i > WARMUP_DAYS_MAX)
			return err_set(err, ERR_PERM, "write at most %u days: the last one holds from then on", WARMUP_DAYS_MAX);
		*GROW(&loader->ruleset->arena, warmup->per_day, warmup->days_n) = n;
	}
	return true;
}

static bool
add_provider(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct ruleset_warmup *warmup = to;
	*GROW(&loader->ruleset->arena, warmup->providers, warmup->providers_n) = arena_strndup(&loader->ruleset->arena, text.p, text.n);
	return true;
}

static bool
take_providers(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return declare_list(loader, index, at, to, "the name of a provider, or a list of them", add_provider, err);
}

bool
declare_warmup(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	static const struct declare_field fields[] = {
		{ "start", take_start, 0, 0, NULL },
		{ "per_day", take_per_day, 0, 0, NULL },
		{ "provider", take_providers, 0, 0, NULL },
		{ "overflow", declare_take_text, offsetof(struct ruleset_warmup, overflow), 0, NULL },
	};
	static const struct declare_shape shape = { fields, countof(fields), false, NULL };
	struct ruleset_warmup *warmup = arena_alloc(&loader->ruleset->arena, sizeof(*warmup));
	unsigned errors = loader->report->errors_n;
	warmup->where = *at;
	warmup->where.scope = arena_printf(&loader->ruleset->arena, "%s: warmup", at->scope);
	warmup->start.ms = -1;
	declare_read(loader, index, &shape, warmup, NULL, &warmup->where);
	if (errors != loader->report->errors_n)
		return true;
	if (warmup->start.ms < 0 || !warmup->days_n || !warmup->overflow)
		return err_set(err, ERR_PERM, "%s is missing: write " EXAMPLE,
			       warmup->start.ms < 0 ? "start" : !warmup->days_n ? "per_day" : "overflow");
	((struct ruleset_vmta *)to)->warmup = warmup;
	return true;
}

/* A virtual MTA that the name stands for, but for `self`, and that warms up too; *others_out: how many it stands for. */
static const struct ruleset_vmta *
warming(const struct ruleset_name *name, const struct ruleset_vmta *self, unsigned *others_out)
{
	const struct ruleset_vmta *found = NULL;
	unsigned n = name->vmta ? 1 : name->pool->members_n;
	*others_out = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct ruleset_vmta *vmta = name->vmta ? name->vmta : name->pool->members[i].vmta;
		if (vmta == self)
			continue;
		(*others_out)++;
		if (vmta->warmup)
			found = vmta;
	}
	return found;
}

void
warmup_check(struct loader *loader)
{
	const struct ruleset *ruleset = loader->ruleset;
	for (unsigned i = 0; i < ruleset->vmtas_n; i++) {
		const struct ruleset_warmup *warmup = ruleset->vmtas[i]->warmup;
		if (!warmup)
			continue;
		const struct ruleset_name *name = table_get(&ruleset->names, span_text(warmup->overflow));
		unsigned others = 0;
		const struct ruleset_vmta *other = name ? warming(name, ruleset->vmtas[i], &others) : NULL;
		if (!name)
			loader_error(loader, &warmup->where, "overflow: \"%.100s\": no such virtual MTA or pool", warmup->overflow);
		else if (others == 0)
			loader_error(loader, &warmup->where, "overflow: \"%.100s\" is what warms up itself: name another", warmup->overflow);
		else if (other)
			loader_error(loader, &warmup->where, "overflow: %s (%s:%d) warms up too: name one that does not", other->where.scope,
				     other->where.file, other->where.line);
		for (unsigned p = 0; p < warmup->providers_n; p++)
			if (!ruleset_provider(ruleset, span_text(warmup->providers[p])))
				loader_error(loader, &warmup->where, "provider: \"%.100s\": no such provider", warmup->providers[p]);
	}
}
