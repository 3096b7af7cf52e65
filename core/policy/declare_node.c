/*
 * node and listener: the machine's side.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/declare.h"

#include "net/peers.h"
#include "policy/grow.h"
#include "policy/machine.h"
#include "policy/value.h"

static bool
take_workers(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	lua_State *L = loader->L;
	uint32_t *workers = to;
	if (lua_type(L, index) == LUA_TSTRING && strcmp(lua_tostring(L, index), "auto") == 0) {
		*workers = 0;
		return true;
	}
	if (lua_type(L, index) == LUA_TSTRING)
		return err_set(err, ERR_PERM, "write \"auto\", or a number");
	if (!value_count(L, index, false, workers, err))
		return false;
	return *workers <= PEERS_MAX || err_set(err, ERR_PERM, "%u is too many: write a number from 1 to %u", *workers, PEERS_MAX);
}

static bool
add_resolver(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct ruleset_node *node = to;
	struct endpoint endpoint;
	if (!endpoint_parse(text, 53, &endpoint, err))
		return false;
	struct endpoint *resolvers = (struct endpoint *)node->resolver;
	*GROW(&loader->ruleset->arena, resolvers, node->resolver_n) = endpoint;
	node->resolver = resolvers;
	return true;
}

static bool
take_resolver(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return declare_list(loader, index, at, to, "a list of addresses, such as { \"127.0.0.1:53\" }", add_resolver, err);
}

static bool
add_record(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	static const char *const types[] = { "d", "b", "t", "tq", "r" };
	struct ruleset_node *node = to;
	for (unsigned i = 0; i < countof(types); i++) {
		if (!span_eq(text, span_text(types[i])))
			continue;
		node->accounting_records |= 1u << i;
		return true;
	}
	return err_set(err, ERR_PERM, "\"%.*s\" is no type of record: write d, b, t, tq or r", (int)min_i64((int64_t)text.n, 40), text.p);
}

static bool
take_records(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	((struct ruleset_node *)to)->accounting_records = 0;
	return declare_list(loader, index, at, to, "a list such as { \"d\", \"b\", \"t\", \"tq\", \"r\" }", add_record, err);
}

static bool
take_accounting(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	static const struct declare_field fields[] = {
		{ "file", declare_take_path, offsetof(struct ruleset_node, accounting_file), 0, NULL },
		{ "records", take_records, 0, 0, NULL },
	};
	static const struct declare_shape shape = { fields, countof(fields), false, NULL };
	struct ruleset_node *node = to;
	struct where own = *at;
	own.scope = "node: accounting";
	declare_read(loader, index, &shape, node, NULL, &own);
	if (lua_istable(loader->L, index) && !node->accounting_file)
		return err_set(err, ERR_PERM, "file is missing: write accounting = { file = \"accounting.csv\" }");
	return true;
}

static bool
take_memory(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	lua_State *L = loader->L;
	bool percents = lua_type(L, index) == LUA_TSTRING && strchr(lua_tostring(L, index), '%');
	double percent;
	if (!percents)
		return value_size(L, index, false, to, err);
	if (!value_percent(L, index, &percent, err))
		return false;
	*(uint64_t *)to = (uint64_t)((double)machine_memory() * percent / 100);
	return percent > 0 || err_set(err, ERR_PERM, "\"0%%\" will not do: write a share such as \"75%%\"");
}

/* "0%" is as legal as 0; of other shares of a disk a policy knows nothing. */
static bool
take_free_space(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	if (lua_type(loader->L, index) == LUA_TSTRING && strcmp(lua_tostring(loader->L, index), "0%") == 0) {
		*(uint64_t *)to = 0;
		return true;
	}
	return value_size(loader->L, index, true, to, err);
}

static bool
take_seed(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	double seed = lua_type(loader->L, index) == LUA_TNUMBER ? lua_tonumber(loader->L, index) : 0;
	if (!(seed >= 1 && seed <= 9007199254740992.0) || seed != (double)(uint64_t)seed)
		return err_set(err, ERR_PERM, "write a whole number from 1 to 2^53, or nothing for the system's");
	*(uint64_t *)to = (uint64_t)seed;
	return true;
}

#define NODE(field) offsetof(struct ruleset_node, field)

static const struct declare_field node_fields[] = {
	{ "hostname", declare_take_hostname, NODE(hostname), 0, NULL },
	{ "spool", declare_take_path, NODE(spool), 0, NULL },
	{ "control", declare_take_path, NODE(control), 0, NULL },
	{ "workers", take_workers, NODE(workers), 0, NULL },
	{ "resolver", take_resolver, 0, 0, NULL },
	{ "accounting", take_accounting, 0, 0, NULL },
	{ "http", NULL, 0, 0, "the HTTP API is not there yet" },
	{ "max_smtp_out", declare_take_limit, NODE(max_smtp_out), NODE(max_smtp_out_where), NULL },
	{ "max_smtp_in", declare_take_limit, NODE(max_smtp_in), 0, NULL },
	{ "max_msg_rate", declare_take_rate, NODE(max_msg_rate), NODE(max_msg_rate_where), NULL },
	{ "memory_limit", take_memory, NODE(memory_limit), 0, NULL },
	{ "min_free_space", take_free_space, NODE(min_free_space), 0, NULL },
	{ "user", declare_take_text, NODE(user), 0, NULL },
	{ "seed", take_seed, NODE(seed), 0, NULL },
};

const struct declare_shape declare_shape_node = { node_fields, countof(node_fields), false, NULL };

void
declare_node(struct loader *loader, const char *name, int table, const struct where *at)
{
	if (loader->node_where.file) {
		loader_error(loader, at, "declared twice; first at %s:%d", loader->node_where.file, loader->node_where.line);
		return;
	}
	loader->node_where = *at;
	declare_read(loader, table, &declare_shape_node, &loader->ruleset->node, NULL, at);
}

static bool
add_relay_from(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct ruleset_listener *listener = to;
	struct cidr cidr;
	if (!cidr_parse(text, &cidr, err))
		return false;
	struct cidr *nets = (struct cidr *)listener->relay_from;
	*GROW(&loader->ruleset->arena, nets, listener->relay_from_n) = cidr;
	listener->relay_from = nets;
	return true;
}

static bool
take_relay_from(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return declare_list(loader, index, at, to, "a list of networks, such as { \"127.0.0.0/8\", \"::1\" }", add_relay_from, err);
}

static bool
add_relay_to(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct ruleset_listener *listener = to;
	struct domain_pattern pattern;
	if (!domain_pattern_parse(text, &pattern, err))
		return false;
	struct domain_pattern *patterns = (struct domain_pattern *)listener->relay_to;
	*GROW(&loader->ruleset->arena, patterns, listener->relay_to_n) = pattern;
	listener->relay_to = patterns;
	return true;
}

static bool
take_relay_to(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return declare_list(loader, index, at, to, "a list of domains, such as { \"example.com\", \"*.example.com\" }", add_relay_to, err);
}

static bool
take_readable(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return value_readable(loader, index, to, err);
}

#define LISTENER(field) offsetof(struct ruleset_listener, field)

static bool
take_tls(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	static const struct declare_field fields[] = {
		{ "certificate", take_readable, LISTENER(tls_certificate), 0, NULL },
		{ "key", take_readable, LISTENER(tls_key), 0, NULL },
	};
	static const struct declare_shape shape = { fields, countof(fields), false, NULL };
	lua_State *L = loader->L;
	struct where own = *at;
	own.scope = arena_printf(&loader->ruleset->arena, "%s: tls", at->scope);
	declare_read(loader, index, &shape, to, NULL, &own);
	for (size_t i = 0; lua_istable(L, index) && i < countof(fields); i++) {
		lua_pushstring(L, fields[i].name);
		lua_rawget(L, index);
		bool there = !lua_isnil(L, -1);
		lua_pop(L, 1);
		if (!there)
			loader_error(loader, &own, "%s is missing: write tls = { certificate = \"cert.pem\", key = \"key.pem\" }", fields[i].name);
	}
	return true;
}

/* The spool counts a message's recipients in sixteen bits. */
static bool
take_max_rcpt(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	uint32_t n;

	if (!declare_take_count(loader, &n, index, at, err))
		return false;
	if (n > UINT16_MAX)
		return err_set(err, ERR_PERM, "%u is more than a message may have: at most %u", n, (unsigned)UINT16_MAX);
	*(uint32_t *)to = n;
	return true;
}

static const struct declare_field listener_fields[] = {
	{ "relay_from", take_relay_from, 0, 0, NULL },
	{ "relay_to", take_relay_to, 0, 0, NULL },
	{ "hostname", declare_take_hostname, LISTENER(hostname), 0, NULL },
	{ "max_message_size", declare_take_size, LISTENER(max_message_size), 0, NULL },
	{ "max_rcpt_per_message", take_max_rcpt, LISTENER(max_rcpt_per_message), 0, NULL },
	{ "max_messages_per_connection", declare_take_limit, LISTENER(max_messages_per_connection), 0, NULL },
	{ "max_sessions", declare_take_limit, LISTENER(max_sessions), 0, NULL },
	{ "max_sessions_per_client", declare_take_limit, LISTENER(max_sessions_per_client), 0, NULL },
	{ "max_errors", declare_take_limit, LISTENER(max_errors), 0, NULL },
	{ "command_timeout", declare_take_duration, LISTENER(command_timeout), 0, NULL },
	{ "data_timeout", declare_take_duration, LISTENER(data_timeout), 0, NULL },
	{ "tls", take_tls, 0, 0, NULL },
	{ "require_tls", declare_take_bool, LISTENER(require_tls), 0, NULL },
	{ "auth", NULL, 0, 0, "inbound AUTH is not there yet" },
	{ "require_auth", NULL, 0, 0, "inbound AUTH is not there yet" },
};

const struct declare_shape declare_shape_listener = { listener_fields, countof(listener_fields), false, NULL };

void
declare_listener(struct loader *loader, const char *name, int table, const struct where *at)
{
	struct err err = { 0 };
	struct ruleset_listener *listener = arena_alloc(&loader->ruleset->arena, sizeof(*listener));
	*listener = (struct ruleset_listener){
		.name = name, .where = *at, .max_message_size = UINT64_C(25) << 20, .max_rcpt_per_message = 1000,
		.max_messages_per_connection = 10000, .max_sessions_per_client = UNLIMITED, .max_errors = 10,
		.command_timeout = 300 * US_PER_S, .data_timeout = 600 * US_PER_S,
	};
	if (!endpoint_parse(span_text(name), 0, &listener->at, &err))
		loader_error(loader, at, "%s", err.text);
	declare_read(loader, table, &declare_shape_listener, listener, NULL, at);
	if (listener->require_tls && !listener->tls_certificate)
		loader_error(loader, at, "require_tls needs a certificate: write tls = { certificate = \"cert.pem\", key = \"key.pem\" }");
	*GROW(&loader->ruleset->arena, loader->listeners, loader->listeners_n) = listener;
}
