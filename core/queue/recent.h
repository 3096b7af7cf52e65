/*
 * recent - how often each rule has matched on each queue, in any window that
 * ends now: what a threshold (`after = "2/1h"`) and queue:recent() ask.
 *
 * Ownership  init/fini; names are copied.
 * Time       Monotonic, handed in; saved by the wall clock.
 * Limits     The last RECENT_EXACT matches of a rule are known each by itself, older
 *            ones in growing heaps; a rule is forgotten RECENT_KEEP_US after its
 *            last match (later where its window is longer), and beyond RECENT_QUEUES_MAX
 *            queues the one whose last match is the longest ago.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/buf.h"
#include "util/list.h"
#include "util/table.h"

#define RECENT_EXACT      128u
#define RECENT_KEEP_US    (INT64_C(86400) * US_PER_S)
#define RECENT_QUEUES_MAX 20000u

struct recent {
	struct table queues;
	struct list  oldest;            /* of the queues, the one whose last match is the longest ago first */
};

void recent_init(struct recent *recent, uint64_t seed);
void recent_fini(struct recent *recent);

/* A match of the rule that stands at `place`, a line or another number of its own. keep_us: its longest window; 0: none known. */
void recent_add(struct recent *recent, const char *queue, const char *rule, uint64_t place, int64_t keep_us, mono_us_t now);
/* Matches in (now - window, now]. */
unsigned recent_count(const struct recent *recent, const char *queue, const char *rule, uint64_t place, int64_t window_us, mono_us_t now);
/* Of all rules of that name. */
unsigned recent_count_named(const struct recent *recent, const char *queue, const char *rule, int64_t window_us, mono_us_t now);

/* Forgets what is too old to be asked for. */
void recent_reap(struct recent *recent, mono_us_t now);

/* A `kind` byte and a record each queue. */
void recent_save(const struct recent *recent, uint8_t kind, struct now now, struct buf *out);
/* One, behind its kind. False: damaged. */
bool recent_load(struct recent *recent, struct span *in, struct now now);
