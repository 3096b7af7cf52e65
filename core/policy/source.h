/*
 * source - where the fields of a policy's tables are written, and a rewritten
 * text in which each table says which of them it is.
 *
 * LuaJIT knows the line of a call, not of a field. So each constructor `{…}` is
 * wrapped in a call of a hidden function with the constructor's number, no line
 * moves, and what stands where is kept here.
 *
 * Ownership  The map owns its arena; names point into the text, which must live as long.
 * Errors     Knows tokens, not grammar: compile the text first. What is no Lua
 *            gives some map and some text, never trouble.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/arena.h"
#include "util/buf.h"

struct source_field {
	struct span name;               /* p NULL: by position */
	uint32_t    position;           /* 1 … */
	uint32_t    line;
	bool        literal;            /* the value begins with a literal, or the table stands in a call */
	bool        after_semicolon;    /* `;` stands before it, not `,` */
};

struct source_table {
	uint32_t line;
	bool     argument;              /* stands in a call, or within one that does: nothing changes it before it is read */
	uint32_t fields_n;
	struct source_field *fields;
};

struct source_map {
	struct arena arena;
	struct source_table *tables;
	uint32_t tables_n;
	uint32_t sign_line;             /* of the first `msg:sign`; 0: none */
};

void source_map_init(struct source_map *map);
void source_map_fini(struct source_map *map);

/* Appends the rewritten text to out: `{` becomes `HIDDEN(n,{`, n from first_id on. Within the
 * function of an `on.x(function … end)` nothing is wrapped. False: too many tables, or out is full. */
bool source_rewrite(struct span text, uint32_t first_id, const char *hidden, struct source_map *map, struct buf *out);

/* The field of a table; the last of that name counts, as in Lua. NULL: it is not written there. */
const struct source_field *source_field_named(const struct source_table *table, struct span name);
const struct source_field *source_field_at(const struct source_table *table, uint32_t position);
