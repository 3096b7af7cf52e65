/*
 * A chain of blocks, each twice the last up to a bound; an allocation bumps a
 * mark in the newest. What does not fit a block of the bound gets one of its
 * own, put behind the newest so that the newest stays in use.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGN     16u
#define BLOCK_MIN 992u          /* with its head no more than glibc's cache keeps: a message has an arena */
#define BLOCK_MAX (64 * BLOCK_MIN)

struct arena_block {
	struct arena_block *next;
	size_t              used, size;
	_Alignas(ALIGN) char bytes[];
};

void
arena_init(struct arena *arena)
{
	*arena = (struct arena){ 0 };
}

static void
free_chain(struct arena_block *block)
{
	while (block) {
		struct arena_block *next = block->next;
		free(block);
		block = next;
	}
}

void
arena_fini(struct arena *arena)
{
	free_chain(arena->blocks);
	*arena = (struct arena){ 0 };
}

void
arena_reset(struct arena *arena)
{
	arena->bytes = 0;
	struct arena_block *kept = arena->blocks;
	if (!kept)
		return;
	if (kept->size > BLOCK_MAX) {
		arena_fini(arena);
		return;
	}
	free_chain(kept->next);
	kept->next = NULL;
	kept->used = 0;
}

static struct arena_block *
add_block(struct arena *arena, size_t n)
{
	struct arena_block *first = arena->blocks;
	size_t size = first && first->size < BLOCK_MAX ? first->size * 2 : first ? BLOCK_MAX : BLOCK_MIN;
	bool alone = n > BLOCK_MAX;
	while (size < n && !alone)
		size *= 2;
	if (alone)
		size = n;
	struct arena_block *block = mem_grow(NULL, sizeof(*block) + size);
	block->used = 0;
	block->size = size;
	if (first && alone) {
		block->next = first->next;
		first->next = block;
	} else {
		block->next = first;
		arena->blocks = block;
	}
	return block;
}

static size_t
aligned(size_t n)
{
	check(n < SIZE_MAX / 4);
	return n ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
}

/* n is a multiple of ALIGN. */
static char *
take(struct arena *arena, size_t n)
{
	struct arena_block *block = arena->blocks;
	if (!block || block->size - block->used < n)
		block = add_block(arena, n);
	char *p = block->bytes + block->used;
	block->used += n;
	arena->bytes += n;
	return p;
}

void *
arena_alloc(struct arena *arena, size_t n)
{
	n = aligned(n);
	return memset(take(arena, n), 0, n);
}

char *
arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *
arena_strndup(struct arena *arena, const char *text, size_t n)
{
	n = strnlen(text, n);
	return (char *)arena_span(arena, span_make(text, n)).p;
}

struct span
arena_span(struct arena *arena, struct span s)
{
	char *copy = take(arena, aligned(s.n + 1));
	if (s.n)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return span_make(copy, s.n);
}

char *
arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	check(n >= 0);
	char *text = arena_alloc(arena, (size_t)n + 1);
	va_start(args, format);
	vsnprintf(text, (size_t)n + 1, format, args);
	va_end(args);
	return text;
}
