/*
 * difference - two rulesets, place by place.
 *
 * Both are asked for what holds (ruleset_resolve()), never for what is written: a
 * value that moved from one block to another is no difference. Places are
 * those that one of the two declares, each once, so that the work grows with the
 * size of the policies and not with sites times virtual MTAs.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/difference.h"

#include "policy/block.h"
#include "policy/difference_value.h"
#include "util/buf.h"
#include "util/log.h"

void
differences_init(struct differences *out)
{
	*out = (struct differences){ .n = 0 };
	arena_init(&out->arena);
}

void
differences_fini(struct differences *out)
{
	arena_fini(&out->arena);
	free(out->all);
}

/* ---- noting ---- */

static void
note(struct differences *out, bool of_queue, const char *place, const char *setting, struct difference_value from, struct difference_value to)
{
	if (out->n == DIFFERENCES_MAX) {
		out->left_out++;
		return;
	}
	if (out->n == out->cap) {
		out->cap = out->cap ? out->cap * 2 : 16;
		out->all = mem_grow(out->all, out->cap * sizeof(*out->all));
	}
	out->all[out->n++] = (struct difference){ of_queue, arena_strdup(&out->arena, place), arena_strdup(&out->arena, setting), from, to };
}

/* Values whose texts differ. */
static void
note_if(struct differences *out, const char *place, const char *setting, struct difference_value from, struct difference_value to)
{
	if (!difference_same_text(from.text, to.text))
		note(out, false, place, setting, from, to);
}

static void
compare_settings(struct differences *out, bool of_queue, const char *place, const struct queue_settings *from, const struct queue_settings *to)
{
	for (enum setting_id id = 0; id < SETTINGS_N; id++)
		if (!difference_same_setting(from, to, id))
			note(out, of_queue, place, setting_table[id].name, difference_of_setting(&out->arena, from, to, id), difference_of_setting(&out->arena, to, from, id));
}

/* Declared on one side only. */
static bool
compare_presence(struct differences *out, const char *place, const void *from, const void *to)
{
	if (from && to)
		return true;
	note(out, false, place, "", difference_of_text(&out->arena, from ? "declared" : NULL), difference_of_text(&out->arena, to ? "declared" : NULL));
	return false;
}

/* ---- scopes with limits of their own ---- */

static void
compare_node(struct differences *out, const struct ruleset_node *a, const struct ruleset_node *b)
{
	struct arena *arena = &out->arena;
	note_if(out, "node", "hostname", difference_of_text(arena, a->hostname), difference_of_text(arena, b->hostname));
	note_if(out, "node", "spool", difference_of_text(arena, a->spool), difference_of_text(arena, b->spool));
	note_if(out, "node", "control", difference_of_text(arena, a->control), difference_of_text(arena, b->control));
	note_if(out, "node", "accounting", difference_of_text(arena, a->accounting_file), difference_of_text(arena, b->accounting_file));
	note_if(out, "node", "http", difference_of_text(arena, a->http), difference_of_text(arena, b->http));
	note_if(out, "node", "max_smtp_out", difference_of_count(arena, a->max_smtp_out), difference_of_count(arena, b->max_smtp_out));
	note_if(out, "node", "max_smtp_in", difference_of_count(arena, a->max_smtp_in), difference_of_count(arena, b->max_smtp_in));
	note_if(out, "node", "max_msg_rate", difference_of_rate(arena, &a->max_msg_rate), difference_of_rate(arena, &b->max_msg_rate));
	note_if(out, "node", "memory_limit", difference_of_number(arena, (double)a->memory_limit), difference_of_number(arena, (double)b->memory_limit));
	note_if(out, "node", "min_free_space", difference_of_number(arena, (double)a->min_free_space), difference_of_number(arena, (double)b->min_free_space));
}

static const char *
sources_text(struct arena *arena, const struct ruleset_vmta *vmta)
{
	const char *text = vmta->sources_n ? "" : "any";
	for (unsigned i = 0; i < vmta->sources_n; i++) {
		char ip[IP_TEXT_MAX];
		ip_format(&vmta->sources[i], ip);
		text = arena_printf(arena, "%s%s%s", text, i ? ", " : "", ip);
	}
	return text;
}

static const char *
warmup_text(struct arena *arena, const struct ruleset_warmup *warmup)
{
	char start[32];
	struct buf text;
	if (!warmup)
		return NULL;
	wall_format(warmup->start, start);
	buf_init(&text, 0);
	buf_printf(&text, "from %.10s by %s:", start, warmup->overflow);
	for (unsigned i = 0; i < warmup->days_n; i++)
		buf_printf(&text, " %u", warmup->per_day[i]);
	for (unsigned i = 0; i < warmup->providers_n; i++)
		buf_printf(&text, "%s%s", i ? ", " : " to ", warmup->providers[i]);
	const char *kept = arena_strdup(arena, buf_text(&text));
	buf_fini(&text);
	return kept;
}

static void
compare_vmta(struct differences *out, const char *name, const struct ruleset_vmta *a, const struct ruleset_vmta *b)
{
	struct arena *arena = &out->arena;
	const char *place = arena_printf(arena, "vmta \"%s\"", name);
	if (!compare_presence(out, place, a, b))
		return;
	note_if(out, place, "source", difference_of_text(arena, sources_text(arena, a)), difference_of_text(arena, sources_text(arena, b)));
	note_if(out, place, "hostname", difference_of_text(arena, a->hostname), difference_of_text(arena, b->hostname));
	note_if(out, place, "warmup", difference_of_text(arena, warmup_text(arena, a->warmup)), difference_of_text(arena, warmup_text(arena, b->warmup)));
	note_if(out, place, "max_smtp_out", difference_of_count(arena, a->max_smtp_out), difference_of_count(arena, b->max_smtp_out));
	note_if(out, place, "max_connect_rate", difference_of_rate(arena, &a->max_connect_rate), difference_of_rate(arena, &b->max_connect_rate));
	note_if(out, place, "max_msg_rate", difference_of_rate(arena, &a->max_msg_rate), difference_of_rate(arena, &b->max_msg_rate));
}

static const char *
members_text(struct arena *arena, const struct ruleset_pool *pool)
{
	const char *text = "";
	for (unsigned i = 0; i < pool->members_n; i++)
		text = arena_printf(arena, pool->members[i].weight == 1 ? "%s%s%s" : "%s%s%s (%u)", text, i ? ", " : "",
				    pool->members[i].vmta->name, pool->members[i].weight);
	return text;
}

static void
compare_pool(struct differences *out, const char *name, const struct ruleset_pool *a, const struct ruleset_pool *b)
{
	struct arena *arena = &out->arena;
	const char *place = arena_printf(arena, "pool \"%s\"", name);
	if (!compare_presence(out, place, a, b))
		return;
	note_if(out, place, "members", difference_of_text(arena, members_text(arena, a)), difference_of_text(arena, members_text(arena, b)));
	note_if(out, place, "max_smtp_out", difference_of_count(arena, a->max_smtp_out), difference_of_count(arena, b->max_smtp_out));
	note_if(out, place, "max_connect_rate", difference_of_rate(arena, &a->max_connect_rate), difference_of_rate(arena, &b->max_connect_rate));
	note_if(out, place, "max_msg_rate", difference_of_rate(arena, &a->max_msg_rate), difference_of_rate(arena, &b->max_msg_rate));
}

static const struct ruleset_listener *
listener_named(const struct ruleset *ruleset, const char *name)
{
	for (unsigned i = 0; i < ruleset->listeners_n; i++)
		if (strcmp(ruleset->listeners[i].name, name) == 0)
			return &ruleset->listeners[i];
	return NULL;
}

static const char *
relays_text(struct arena *arena, const struct ruleset_listener *l)
{
	const char *text = "";
	for (unsigned i = 0; i < l->relay_from_n; i++) {
		char ip[IP_TEXT_MAX];
		ip_format(&l->relay_from[i].net, ip);
		text = arena_printf(arena, "%s%s%s/%u", text, i ? ", " : "", ip, l->relay_from[i].bits);
	}
	return text;
}

static void
compare_listener(struct differences *out, const char *name, const struct ruleset_listener *a, const struct ruleset_listener *b)
{
	struct arena *arena = &out->arena;
	const char *place = arena_printf(arena, "listener \"%s\"", name);
	if (!compare_presence(out, place, a, b))
		return;
	note_if(out, place, "relay_from", difference_of_text(arena, relays_text(arena, a)), difference_of_text(arena, relays_text(arena, b)));
	note_if(out, place, "relay_to", difference_of_number(arena, a->relay_to_n), difference_of_number(arena, b->relay_to_n));
	note_if(out, place, "hostname", difference_of_text(arena, a->hostname), difference_of_text(arena, b->hostname));
	note_if(out, place, "max_message_size", difference_of_number(arena, (double)a->max_message_size), difference_of_number(arena, (double)b->max_message_size));
	note_if(out, place, "max_rcpt_per_message", difference_of_count(arena, a->max_rcpt_per_message), difference_of_count(arena, b->max_rcpt_per_message));
	note_if(out, place, "max_messages_per_connection", difference_of_count(arena, a->max_messages_per_connection),
		difference_of_count(arena, b->max_messages_per_connection));
	note_if(out, place, "max_sessions", difference_of_count(arena, a->max_sessions), difference_of_count(arena, b->max_sessions));
	note_if(out, place, "max_sessions_per_client", difference_of_count(arena, a->max_sessions_per_client), difference_of_count(arena, b->max_sessions_per_client));
	note_if(out, place, "max_errors", difference_of_count(arena, a->max_errors), difference_of_count(arena, b->max_errors));
	note_if(out, place, "command_timeout", difference_of_duration(arena, a->command_timeout), difference_of_duration(arena, b->command_timeout));
	note_if(out, place, "data_timeout", difference_of_duration(arena, a->data_timeout), difference_of_duration(arena, b->data_timeout));
	note_if(out, place, "certificate", difference_of_text(arena, a->tls_certificate), difference_of_text(arena, b->tls_certificate));
	note_if(out, place, "key", difference_of_text(arena, a->tls_key), difference_of_text(arena, b->tls_key));
	note_if(out, place, "require_tls", difference_of_bool(arena, a->require_tls), difference_of_bool(arena, b->require_tls));
}

/* ---- sites ---- */

struct sites {
	struct differences *out;
	const struct ruleset *from, *to;
	struct table seen;              /* places, as told */
};

static bool
is_seen(struct sites *s, const char *place)
{
	if (table_get(&s->seen, span_text(place)))
		return true;
	table_put(&s->seen, span_text(place), s);
	return false;
}

/* What a block's site gets by that virtual MTA (NULL: as if none had blocks), here and there. */
static void
compare_block(struct sites *s, const struct ruleset_block *block, const char *owner, const char *vmta)
{
	static const char *const before[] = { [DOMAIN_EXACT] = "", [DOMAIN_SUBDOMAINS] = "*.", [DOMAIN_BOTH] = "[*.]", [DOMAIN_ALL] = "*" };
	struct arena *arena = &s->out->arena;
	const char *site = block->provider ? arena_printf(arena, "provider \"%s\"", block->provider)
					   : arena_printf(arena, "domain \"%s%s\"", before[block->kind], block->domain ? block->domain : "");
	const char *place = owner ? arena_printf(arena, "%s %s", owner, site) : site;
	struct span provider = span_text(block->provider ? block->provider : ""), domain = span_text(block->domain ? block->domain : "");
	struct queue_settings from, to;
	if (is_seen(s, place))
		return;
	/* A name under it stands for those of a wildcard. */
	if (!block->provider && block->kind == DOMAIN_SUBDOMAINS)
		domain = span_text(arena_printf(arena, "any.%s", block->domain));
	ruleset_resolve(s->from, provider.n ? ruleset_provider(s->from, provider) : NULL, domain,
			vmta ? ruleset_vmta(s->from, span_text(vmta)) : NULL, &from);
	ruleset_resolve(s->to, provider.n ? ruleset_provider(s->to, provider) : NULL, domain,
			vmta ? ruleset_vmta(s->to, span_text(vmta)) : NULL, &to);
	compare_settings(s->out, false, place, &from, &to);
}

static void
compare_blocks(struct sites *s, const struct ruleset *side)
{
	struct arena *arena = &s->out->arena;
	for (unsigned i = 0; i < side->blocks_n; i++)
		compare_block(s, side->blocks[i], NULL, NULL);
	for (unsigned v = 0; v < side->vmtas_n; v++)
		for (unsigned i = 0; i < side->vmtas[v]->blocks_n; i++)
			compare_block(s, side->vmtas[v]->blocks[i], arena_printf(arena, "vmta \"%s\"", side->vmtas[v]->name), side->vmtas[v]->name);
	for (unsigned p = 0; p < side->pools_n; p++)
		for (unsigned i = 0; i < side->pools[p]->blocks_n && side->pools[p]->members_n; i++)
			compare_block(s, side->pools[p]->blocks[i], arena_printf(arena, "pool \"%s\"", side->pools[p]->name),
				      side->pools[p]->members[0].vmta->name);
}

static bool
same_domains(const struct ruleset_provider *a, const struct ruleset_provider *b)
{
	if (a->domains_n != b->domains_n || a->mx_n != b->mx_n)
		return false;
	for (unsigned i = 0; i < a->domains_n; i++)
		if (strcmp(a->domains[i], b->domains[i]) != 0)
			return false;
	for (unsigned i = 0; i < a->mx_n; i++)
		if (a->mx[i].kind != b->mx[i].kind || strcmp(a->mx[i].name, b->mx[i].name) != 0)
			return false;
	return true;
}

static void
compare_provider(struct differences *out, const char *name, const struct ruleset_provider *a, const struct ruleset_provider *b)
{
	struct arena *arena = &out->arena;
	const char *place = arena_printf(arena, "provider \"%s\"", name);
	if (!compare_presence(out, place, a, b) || same_domains(a, b))
		return;
	note(out, false, place, "domains", difference_of_text(arena, arena_printf(arena, "%u domains, %u mx", a->domains_n, a->mx_n)),
	     difference_of_text(arena, arena_printf(arena, "%u domains, %u mx", b->domains_n, b->mx_n)));
}

/* ---- the whole ---- */

/* Each name of either side once: those of `from`, then those that only `to` has. */
#define EACH_NAME(side, list, lookup, compare) \
	for (unsigned i = 0; i < (side)->list##s_n; i++) { \
		const char *name = (side)->list##s[i]->name; \
		if ((side) == from || !lookup(from, span_text(name))) \
			compare(out, name, lookup(from, span_text(name)), lookup(to, span_text(name))); \
	}

static void
compare_side(struct differences *out, const struct ruleset *from, const struct ruleset *to, const struct ruleset *side)
{
	for (unsigned i = 0; i < side->listeners_n; i++) {
		const char *name = side->listeners[i].name;
		if (side == from || !listener_named(from, name))
			compare_listener(out, name, listener_named(from, name), listener_named(to, name));
	}
	EACH_NAME(side, vmta, ruleset_vmta, compare_vmta)
	EACH_NAME(side, pool, ruleset_pool, compare_pool)
	EACH_NAME(side, provider, ruleset_provider, compare_provider)
}

void
differences_of(struct differences *out, const struct ruleset *from, const struct ruleset *to)
{
	struct sites sites = { .out = out, .from = from, .to = to };
	compare_node(out, &from->node, &to->node);
	compare_side(out, from, to, from);
	compare_side(out, from, to, to);
	table_init(&sites.seen, 0);
	compare_blocks(&sites, from);
	compare_blocks(&sites, to);
	table_fini(&sites.seen);
}

void
differences_of_queue(struct differences *out, const struct ruleset *from, const struct ruleset *to, const char *queue,
		     const char *site, const char *domain, const char *vmta)
{
	const struct ruleset_provider *before = ruleset_provider(from, span_text(site)), *after;
	const struct ruleset_vmta *by = ruleset_vmta(from, span_text(vmta)), *by_after = ruleset_vmta(to, span_text(vmta));
	struct queue_settings a, b;
	if (!by || !by_after)
		return;
	after = ruleset_provider_of_domain(to, span_text(domain));
	/* It was found by its hosts, which may lead there still. */
	if (!after && before && !ruleset_provider_of_domain(from, span_text(domain)))
		after = ruleset_provider(to, span_text(site));
	if (before && !after)
		note(out, true, queue, "site", difference_of_text(&out->arena, site), difference_of_text(&out->arena, domain));
	else if (after && strcmp(after->name, site) != 0)
		note(out, true, queue, "site", difference_of_text(&out->arena, site), difference_of_text(&out->arena, after->name));
	ruleset_resolve(from, before, span_text(domain), by, &a);
	ruleset_resolve(to, after, span_text(domain), by_after, &b);
	compare_settings(out, true, queue, &a, &b);
}
