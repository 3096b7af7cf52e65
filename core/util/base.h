/*
 * base - what every file may assume.
 *
 * Time: monotonic time is a count of microseconds; wall time is a type of its
 * own, so that adding one to the other does not compile.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t mono_us_t;                    /* since some fixed instant */
typedef struct { int64_t ms; } wall_ms_t;     /* since 1970-01-01T00:00:00Z */

#define MONO_NEVER INT64_MAX

/* The two clocks, read together: what `now` is where both matter. */
struct now {
	mono_us_t mono;
	wall_ms_t wall;
};

#define US_PER_MS  INT64_C(1000)
#define US_PER_S   INT64_C(1000000)
#define MS_PER_S   INT64_C(1000)

#define countof(a) (sizeof(a) / sizeof(*(a)))
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN          __attribute__((noreturn))

static inline int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* A broken invariant ends the process: the spool makes that safe, going on
 * does not. Never on what a peer, a disk or a policy said. */
#define check(x) \
	((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))
NORETURN __attribute__((cold)) void check_failed(const char *what, const char *file, int line);

/* Small allocations abort when memory is gone. What a peer may size is bounded
 * by the caller first. */
void *mem_alloc(size_t n);              /* zeroed */
void *mem_grow(void *p, size_t n);      /* not zeroed */
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t n);
