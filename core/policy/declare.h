/*
 * declare - node, listener, vmta, pool, provider and domain as Lua functions
 * that fill a loader.
 *
 * Each kind of table is a shape: a row a field, with what takes its value.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"

struct declare_field {
	const char *name;
	/* False: err says what is wrong, and the field's name and place are put before it. One that has
	 * tables of its own notes what is wrong there by itself and returns true. */
	bool      (*take)(struct loader *loader, void *to, int index, const struct where *at, struct err *err);
	size_t      offset;             /* of `to` in the object */
	size_t      where_offset;       /* of a struct where; 0: none is kept */
	const char *later;              /* take NULL: known, and not there yet */
};

struct declare_shape {
	const struct declare_field *fields;
	unsigned fields_n;
	bool     settings;              /* those of a queue as well, into the block */
	/* NULL: it has no values by position */
	bool   (*member)(struct loader *loader, void *object, int index, const struct where *at, struct err *err);
};

extern const struct declare_shape declare_shape_node, declare_shape_listener, declare_shape_vmta, declare_shape_pool,
	declare_shape_provider;

/* Reads the table at `index` into the object, and settings into the block. */
void declare_read(struct loader *loader, int index, const struct declare_shape *shape, void *object,
		  struct ruleset_block *block, const struct where *declared);
/* The table at `index` as a list: a text alone is a list of one; with commas in it of several. Calls fn for each text. */
bool declare_list(struct loader *loader, int index, const struct where *at, void *to, const char *instead,
		  bool (*fn)(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err), struct err *err);

/* What each declaration does with its name (NULL for node), its table, and the line it begins on. */
void declare_node(struct loader *loader, const char *name, int table, const struct where *at);
void declare_listener(struct loader *loader, const char *name, int table, const struct where *at);
void declare_vmta(struct loader *loader, const char *name, int table, const struct where *at);
void declare_pool(struct loader *loader, const char *name, int table, const struct where *at);
void declare_provider(struct loader *loader, const char *name, int table, const struct where *at);
void declare_domain(struct loader *loader, const char *const *names, unsigned names_n, int table, const struct where *at);

/* Takers of the plain kinds. */
typedef bool declare_take(struct loader *loader, void *to, int index, const struct where *at, struct err *err);
declare_take declare_take_count, declare_take_limit, declare_take_rate, declare_take_duration, declare_take_bool,
	declare_take_size, declare_take_hostname, declare_take_text, declare_take_path;

void declare_export(struct loader *loader);     /* the functions, for scripts */
void declare_finish(struct loader *loader);     /* notes declarations that never got their table */
