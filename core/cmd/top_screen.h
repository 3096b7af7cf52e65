/*
 * top_screen - what `top` shows and what its keys mean; no terminal in it:
 * answers of the node and keys go in, the text of a screen comes out.
 *
 * Ownership  init/fini. Answers are taken.
 * Limits     Lines and columns as told; nothing is written beyond them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "util/buf.h"

enum top_sort { TOP_BY_QUEUED, TOP_BY_NAME, TOP_BY_SESSIONS, TOP_BY_PACE, TOP_BY_OLDEST, TOP_SORTS_N };

/* What the node must be asked for now. */
enum top_act { TOP_NOTHING, TOP_QUIT, TOP_REFRESH, TOP_PAUSE, TOP_RESUME, TOP_RETRY, TOP_WHY };

/* Keys beyond the letters. */
enum { TOP_KEY_UP = 256, TOP_KEY_DOWN, TOP_KEY_PAGE_UP, TOP_KEY_PAGE_DOWN, TOP_KEY_ESCAPE, TOP_KEY_ENTER, TOP_KEY_BACK };

#define TOP_FILTER_MAX 60

struct top_screen {
	json_t       *status, *rows;    /* NULL: not yet; rows: sorted */
	json_t       *why;              /* shown instead of the rows; NULL: not */
	double        delivered_before, at_before, per_second;
	char          filter[TOP_FILTER_MAX + 1];
	char          message[200];     /* what the last act did, or went wrong */
	char          selected[420];    /* the queue under the cursor, by name: rows move */
	size_t        cursor;           /* where it stands */
	enum top_sort sort;
	bool          typing;           /* the filter */
};

void top_screen_init(struct top_screen *top);
void top_screen_fini(struct top_screen *top);
/* at_s: of any steady clock. */
void top_screen_update(struct top_screen *top, json_t *status, json_t *rows, double at_s);
void top_screen_show_why(struct top_screen *top, json_t *why);
/* done: "paused"; error NULL: it went well. */
void top_screen_tell(struct top_screen *top, const char *done, const json_t *touched, const char *error);

enum top_act top_screen_key(struct top_screen *top, int key);
/* "": nothing is under the cursor. */
const char *top_screen_queue(const struct top_screen *top);
/* The pattern to list by; NULL: all. */
const char *top_screen_pattern(const struct top_screen *top, char room[TOP_FILTER_MAX + 3]);

/* Lines end with "\r\n", each cleared to its end. */
void top_screen_draw(const struct top_screen *top, unsigned lines, unsigned columns, bool colour, struct buf *out);
