/*
 * How a process ends on a broken invariant, and allocation that does not fail.
 *
 * check_failed() writes with dprintf: at that point a lock of stdio may be held
 * by the thread that failed.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_MAX 4096u

void
check_failed(const char *what, const char *file, int line)
{
	dprintf(2, "%s:%d: broken invariant: %s\n", file, line, what);
	abort();
}

/* glibc serves calloc() past its per-thread cache, at several times the price of malloc(). What is large may come
 * as fresh pages, which are zero already. */
void *
mem_alloc(size_t n)
{
	bool small = n <= SMALL_MAX;
	void *p = small ? malloc(n ? n : 1) : calloc(1, n);
	check(p);
	return small ? memset(p, 0, n) : p;
}

void *
mem_grow(void *p, size_t n)
{
	p = realloc(p, n ? n : 1);
	check(p);
	return p;
}

char *
mem_strdup(const char *text)
{
	return mem_strndup(text, strlen(text));
}

char *
mem_strndup(const char *text, size_t n)
{
	n = strnlen(text, n);
	char *copy = mem_grow(NULL, n + 1);
	memcpy(copy, text, n);
	copy[n] = '\0';
	return copy;
}
