/*
 * loader - a policy file on its way to a ruleset: what is declared so far, what
 * is wrong with it, and where each value is written.
 *
 * A wrong declaration is noted and the load goes on, so that one run names all
 * errors; only what stops Lua itself ends it.
 *
 * Ownership  Borrows ruleset, report and sandbox; what is declared lies in the
 *            ruleset's arena.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/block.h"
#include "policy/lua_api.h"
#include "policy/notes.h"
#include "policy/sandbox.h"
#include "policy/source.h"

struct loader_file {
	const char *path;
	uint32_t    first_table;        /* the number of its first constructor */
	struct source_map map;
};

/* A member of a pool, and a site of a block, are looked up when all is declared. */
struct loader_member { const char *name; uint32_t weight; struct where where; };

struct loader_vmta {
	struct ruleset_vmta vmta;               /* first: a field's offset is one in both */
	struct ruleset_block **blocks;
	unsigned blocks_n;
};

struct loader_pool {
	struct ruleset_pool pool;
	struct loader_member *members;
	unsigned members_n;
	struct ruleset_block **blocks;
	unsigned blocks_n;
};

struct loader_provider {
	struct ruleset_provider provider;
	const char **domains;
	struct where *domain_wheres;
	unsigned domains_n, domain_wheres_n;
	struct domain_pattern *mx;
	unsigned mx_n;
};

struct loader_reroute {                         /* of a reaction: looked up when all is declared */
	const char  *name;                      /* the reaction's own pointer */
	struct where where;
	bool         asked, moves;              /* of some queue's list; some of that mail leaves otherwise */
};

struct loader_pending {                         /* `provider "google"`, its table still to come */
	const char  *word;
	const char  *name;
	struct where where;
	bool         done;
};

struct loader {
	struct ruleset       *ruleset;
	struct policy_report *report;
	lua_State            *L;
	struct bundle        *bundle;           /* where files come from */
	const char           *dir;              /* "policies/" or "" */
	struct loader_file  **files;            /* the policy first */
	unsigned files_n;
	struct loader_vmta  **vmtas;     unsigned vmtas_n;
	struct loader_pool  **pools;     unsigned pools_n;
	struct loader_provider **providers; unsigned providers_n;
	struct ruleset_listener **listeners; unsigned listeners_n;
	struct ruleset_block **blocks;   unsigned blocks_n;
	struct loader_pending **pending; unsigned pending_n;
	struct loader_reroute *reroutes; unsigned reroutes_n;
	struct loader       **door;             /* a userdata of Lua's; NULL in it when the load is over */
	struct where node_where;                /* file NULL: no node { } yet */
};

#define LOADER_HIDDEN "__at"

void loader_init(struct loader *loader, struct ruleset *ruleset, struct policy_report *report, lua_State *L, struct bundle *bundle);
void loader_fini(struct loader *loader);

/* Compiles the file onto the stack; false: noted. */
bool loader_compile(struct loader *loader, const char *path);
/* The same of a text, which must stay for the load. */
bool loader_compile_text(struct loader *loader, const char *path, struct span text);
/* A C function with the loader behind its first upvalue (and extra_n more, from the stack). The script may keep
 * it longer than the load: then loader_of() is NULL. It raises in a coroutine: the loader works on the stack of the main one. */
void loader_push_function(struct loader *loader, lua_CFunction fn, int extra_n);
struct loader *loader_of(lua_State *L);
int loader_l_at(lua_State *L);

/* The place of the Lua code that is being run; scope is filled in by the caller. */
struct where loader_here(struct loader *loader, const char *scope);
/* The place of a field of the table at `index`: its own where it is written there, else the declaration's. The key
 * is a name, or a position where name is NULL. A table that names others in its metatable's `__from` was put together
 * from them. */
struct where loader_place(struct loader *loader, int index, const char *name, uint32_t position, const struct where *declared);
/* Warns of names that the constructor of the table at `index` holds twice: Lua keeps the last and says nothing. */
void loader_warn_twice(struct loader *loader, int index, const struct where *declared);
/* Whether a `;` stands before it. */
bool loader_after_semicolon(struct loader *loader, int index, uint32_t position);

void loader_error(struct loader *loader, const struct where *at, const char *format, ...) PRINTF_LIKE(3, 4);
void loader_warning(struct loader *loader, const struct where *at, const char *format, ...) PRINTF_LIKE(3, 4);

/* Relative paths are taken from the policy's folder. */
const char *loader_path(struct loader *loader, const char *path);
