/*
 * units - the values of a policy as text: durations, rates, sizes, percents.
 * The grammar is POLICY.md's; each error text says what to write instead.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"
#include "util/span.h"

#define DURATION_NEVER INT64_MAX
#define DURATION_LIST_MAX 30            /* PowerMTA's limit */

/* "30m", "1h30m", "4d12h", "90" (seconds); units s m h d w, each at most once,
 * largest first. Not 0, unless zero_ok. At most 10 years. Microseconds. */
bool duration_parse(struct span text, bool zero_ok, int64_t *us_out, struct err *err);
void duration_format(int64_t us, char out[32]);         /* "1h30m"; "never"; "1.5s" */

struct duration_list {
	uint8_t n;                      /* 1 … DURATION_LIST_MAX */
	int64_t us[DURATION_LIST_MAX];  /* the last repeats */
};
bool duration_list_parse(struct span text, struct duration_list *out, struct err *err); /* "10m,20m" */
static inline int64_t
duration_list_at(const struct duration_list *list, uint32_t step)
{
	return list->us[step < list->n ? step : list->n - 1u];
}

struct rate_spec {
	uint32_t count;                 /* 0 = unlimited */
	uint32_t burst;                 /* 0 = paced; below count */
	int64_t  window_us;
};
/* "400/h", "100/15m", "50000/day", "unlimited"; units s sec m min h hr hour d day w. */
bool rate_parse(struct span text, struct rate_spec *out, struct err *err);
void rate_format(const struct rate_spec *spec, char out[48]);   /* "400/h", "100/15m", "unlimited" */
static inline bool rate_unlimited(const struct rate_spec *spec) { return spec->count == 0; }

bool size_parse(struct span text, uint64_t *bytes_out, struct err *err);        /* "25M", "10G", "512K", bytes */
void size_format(uint64_t bytes, char out[32]);
bool percent_parse(struct span text, double *percent_out, struct err *err);     /* "50%": 50.0 */
