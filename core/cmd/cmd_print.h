/*
 * cmd_print - how answers look to a person: aligned columns, short durations,
 * colour only on a terminal; and to a script: one JSON value.
 *
 * What a peer said is shown with control characters as \xHH or \uHHHH, so that it cannot
 * drive the operator's terminal.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "util/arena.h"
#include "util/buf.h"

enum cmd_style { CMD_PLAIN, CMD_BOLD, CMD_DIM, CMD_GREEN, CMD_YELLOW, CMD_RED, CMD_STYLES_N };

/* The text in that style on standard output, if it is a terminal and NO_COLOR is not set. */
bool cmd_has_colour(void);
void cmd_add_styled(struct buf *out, enum cmd_style style, bool colour, struct span text);

/* An answer, which is taken: as JSON, or the text that `view` makes of it. */
typedef void cmd_view_fn(const void *ctx, const json_t *answer, bool colour, struct buf *out);
void cmd_print_answer(json_t *answer, bool json, cmd_view_fn *view, const void *ctx);
void cmd_print_json(const json_t *value);
/* Of jansson, for standard output: what a terminal might obey is escaped. */
size_t cmd_json_flags(void);
void cmd_print_text(const struct buf *text);

/* The two largest units: "1h30m", "3d4h", "12s", "0.4s". */
void cmd_duration(double seconds, char out[32]);
/* Control characters as \xHH or \uHHHH, cut to `max` characters (0: whole) with "…". */
void cmd_add_clean(struct buf *out, const char *text, size_t max);

/* A setting's value; numbers of duration settings are seconds. between: the members of a list. */
void cmd_add_setting(struct buf *out, const char *setting, const json_t *value, const char *between);

enum { CMD_COLUMNS_MAX = 10 };

/* Rows are gathered, then laid out. align: a letter a column, 'l' or 'r'. */
struct cmd_table {
	struct arena arena;
	const char  *align;
	unsigned     columns;
	unsigned     rows, cap;
	struct cmd_cell {
		struct span    text;
		enum cmd_style style;
	} *cells;
};

void cmd_table_init(struct cmd_table *table, const char *align);
void cmd_table_fini(struct cmd_table *table);
void cmd_table_row(struct cmd_table *table);            /* begins one; cells not set are empty */
void cmd_table_cell(struct cmd_table *table, unsigned column, enum cmd_style style, const char *format, ...) PRINTF_LIKE(4, 5);
void cmd_table_write(const struct cmd_table *table, bool colour, struct buf *out);
