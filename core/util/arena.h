/*
 * arena - memory that ends all at once: a message's, a session's, a ruleset's.
 *
 * Ownership  init/fini; what it gave lives until arena_reset or arena_fini.
 * Limits     None of its own: bound what a peer may size before asking.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t              bytes;      /* handed out */
};

void  arena_init(struct arena *arena);
void  arena_fini(struct arena *arena);
void  arena_reset(struct arena *arena);         /* empty; keeps one block */
void *arena_alloc(struct arena *arena, size_t n);       /* zeroed, aligned to 16 */
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t n);
struct span arena_span(struct arena *arena, struct span s);     /* NUL behind it */
char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
