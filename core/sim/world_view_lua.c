/*
 * world_view_lua - what a spec sees of the node, as Lua tables: the JSON of the
 * control socket (null is nil), the records by the names of their columns, the
 * report.
 *
 * A record goes through the line of CSV that it would be, so its fields are
 * that line's to the letter.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/domain.h"
#include "sim/world_lua_own.h"

#define FIELDS_MAX 40

/* ---- JSON ---- */

static void
push_json(lua_State *L, const json_t *value)
{
	const char *name;
	json_t *item;
	size_t i;

	luaL_checkstack(L, 4, "an answer too deep");
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		lua_newtable(L);
		json_object_foreach((json_t *)value, name, item) {
			push_json(L, item);
			lua_setfield(L, -2, name);
		}
		return;
	case JSON_ARRAY:
		lua_createtable(L, (int)json_array_size(value), 0);
		json_array_foreach((json_t *)value, i, item) {
			push_json(L, item);
			lua_rawseti(L, -2, (int)i + 1);
		}
		return;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(value), json_string_length(value));
		return;
	case JSON_INTEGER:
	case JSON_REAL:
		lua_pushnumber(L, json_number_value(value));
		return;
	case JSON_TRUE:
	case JSON_FALSE:
		lua_pushboolean(L, json_is_true(value));
		return;
	case JSON_NULL:
		lua_pushnil(L);
	}
}

/* ask(world, what, queue) */
static int
l_ask(lua_State *L)
{
	struct world *world = l_world(L)->world;
	const char *what = luaL_checkstring(L, 2), *queue = luaL_checkstring(L, 3);
	struct err err = { 0 };
	json_t *answer = strcmp(what, "why") == 0 ? world_why(world, queue, &err)
		       : strcmp(what, "queue") == 0 ? world_queue(world, queue, &err)
		       : strcmp(what, "status") == 0 ? world_status(world, &err)
		       : world_effective(world, queue, &err);

	if (answer == NULL)
		return l_refused(L, &err, false);
	push_json(L, answer);
	json_decref(answer);
	return 1;
}

/* ---- records ---- */

/* The next field of a line (RFC 4180), unquoted into *out. False: that was all. */
static bool
next_field(struct span *line, struct buf *out)
{
	bool quoted = line->n > 0 && line->p[0] == '"';
	size_t i = quoted;

	if (line->n == 0)
		return false;
	buf_clear(out);
	for (; i < line->n; i++) {
		char c = line->p[i];

		if (quoted && c == '"') {
			if (i + 1 == line->n || line->p[i + 1] != '"') {
				quoted = false;
				continue;
			}
			i++;
		} else if (!quoted && (c == ',' || c == '\n' || c == '\r')) {
			break;
		}
		buf_add_char(out, c);
	}
	*line = span_from(*line, i < line->n ? i + 1 : i);
	return true;
}

/* The names, as a table at the top. */
static int
push_fields(lua_State *L)
{
	struct span header = span_text(account_header), name;
	int n = 0;

	lua_newtable(L);
	while (span_split(&header, ',', &name)) {
		while (name.n > 0 && (name.p[name.n - 1] == '\n' || name.p[name.n - 1] == '\r'))
			name.n--;
		lua_pushlstring(L, name.p, name.n);
		lua_rawseti(L, -2, ++n);
	}
	return n;
}

/* As a table by name; the names lie at `names`. */
static void
push_record(lua_State *L, int names, int n, struct span line, struct buf *field)
{
	lua_createtable(L, 0, n);
	for (int i = 1; i <= n && next_field(&line, field); i++) {
		lua_rawgeti(L, names, i);
		lua_pushlstring(L, buf_text(field), buf_len(field));
		lua_rawset(L, -3);
	}
}

/* Whether all that the table at `wanted` names is so in the record at the top. */
static bool
is_wanted(lua_State *L, int wanted)
{
	bool same = true;

	if (!lua_istable(L, wanted))
		return true;
	for (lua_pushnil(L); same && lua_next(L, wanted); ) {
		lua_pushvalue(L, -2);
		lua_rawget(L, -4);
		same = lua_rawequal(L, -1, -2) != 0;
		lua_pop(L, same ? 2 : 3);
	}
	return same;
}

/* records(world, wanted) */
static int
l_records(lua_State *L)
{
	const struct ledger *ledger = world_ledger(l_world(L)->world);
	struct account_record record;
	struct buf line, field;
	int n, found = 0;

	lua_settop(L, 2);
	n = push_fields(L);
	lua_newtable(L);
	buf_init(&line, 0);
	buf_init(&field, 0);
	for (size_t i = 0; i < ledger_n(ledger); i++) {
		ledger_read(ledger, i, &record);
		buf_clear(&line);
		account_format(&record, &line);
		push_record(L, 3, n, buf_span(&line), &field);
		if (is_wanted(L, 2))
			lua_rawseti(L, 4, ++found);
		else
			lua_pop(L, 1);
	}
	buf_fini(&line);
	buf_fini(&field);
	return 1;
}

/* ---- the rest ---- */

static void
add_line(void *ctx, const char *text)
{
	lua_State *L = ctx;

	lua_pushstring(L, text);
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

static int
l_report(lua_State *L)
{
	struct world *world = l_world(L)->world;

	lua_newtable(L);
	world_report(world, add_line, L);
	return 1;
}

static int
l_digest(lua_State *L)
{
	char text[24];

	snprintf(text, sizeof text, "%016llx", (unsigned long long)world_digest(l_world(L)->world));
	lua_pushstring(L, text);
	return 1;
}

/* As the resolver gives it; "." is the null MX. */
static bool
take_host(const char *text, struct resolver_mx *mx, struct err *err)
{
	mx->host[0] = '\0';
	if (strcmp(text, "") == 0 || strcmp(text, ".") == 0)
		return true;
	return domain_normalize(span_text(text), mx->host, NULL) || err_set(err, ERR_PERM, "dns: no name of a host: %.100s", text);
}

/* The list of { host, preference } in the field "mx" of the table at 3. */
static bool
take_mx(lua_State *L, struct resolver_mx *mx, unsigned *n_out, struct err *err)
{
	bool ok = true;

	lua_getfield(L, 3, "mx");
	for (; ok && lua_istable(L, -1) && *n_out < RESOLVER_RECORDS_MAX; ++*n_out) {
		lua_rawgeti(L, -1, (int)*n_out + 1);
		if (!lua_istable(L, -1)) {
			lua_pop(L, 1);
			break;
		}
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		ok = take_host(lua_tostring(L, -2), &mx[*n_out], err);
		mx[*n_out].preference = (uint16_t)lua_tonumber(L, -1);
		lua_pop(L, 3);
	}
	lua_pop(L, 1);
	return ok;
}

static bool
take_addresses(lua_State *L, struct ip *ip, struct resolver_sim_zone *zone, struct err *err)
{
	unsigned *n_out = &zone->ip_n;

	lua_getfield(L, 3, "address");
	zone->no_ip = lua_istable(L, -1) && lua_objlen(L, -1) == 0;
	for (; lua_istable(L, -1) && *n_out < RESOLVER_RECORDS_MAX; ++*n_out) {
		const char *text;

		lua_rawgeti(L, -1, (int)*n_out + 1);
		text = lua_tostring(L, -1);
		lua_pop(L, 1);
		if (text == NULL)
			break;
		if (!ip_parse(span_text(text), &ip[*n_out])) {
			lua_pop(L, 1);
			return err_set(err, ERR_PERM, "dns: no address: %.100s", text);
		}
	}
	lua_pop(L, 1);
	return true;
}

/* dns(world, domain, answer) */
static int
l_dns(lua_State *L)
{
	struct world *world = l_world(L)->world;
	const char *text = luaL_checkstring(L, 2), *word = lua_tostring(L, 3);
	char domain[DOMAIN_MAX];
	struct resolver_mx mx[RESOLVER_RECORDS_MAX];
	struct ip ip[RESOLVER_RECORDS_MAX];
	struct resolver_sim_zone zone = { .status = RESOLVER_OK, .mx = mx, .ip = ip };
	struct err err = { 0 };

	if (!domain_normalize(span_text(text), domain, NULL)) {
		err_set(&err, ERR_PERM, "dns: no domain: %.100s", text);
		return l_refused(L, &err, false);
	}
	if (word != NULL) {
		zone.status = strcmp(word, "servfail") == 0 ? RESOLVER_SERVFAIL
			    : strcmp(word, "nxdomain") == 0 ? RESOLVER_NXDOMAIN : RESOLVER_TIMEOUT;
	} else if (!take_mx(L, mx, &zone.mx_n, &err) || !take_addresses(L, ip, &zone, &err)) {
		return l_refused(L, &err, false);
	}
	world_set_name(world, domain, &zone);
	lua_pushboolean(L, true);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "ask", l_ask }, { "records", l_records }, { "report", l_report }, { "digest", l_digest }, { "dns", l_dns },
	{ NULL, NULL },
};

void
l_add_view(lua_State *L)
{
	luaL_register(L, NULL, functions);
	push_fields(L);
	lua_setfield(L, -2, "fields");
}
