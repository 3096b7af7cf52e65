/*
 * difference - what one ruleset says otherwise than another: for each place that
 * either declares (node, listeners, virtual MTAs, pools, providers, domains), and
 * for queues that are named, setting by setting.
 *
 * A place's settings are compared as they hold there, so that a change of "*" is
 * told once, at "*", and where it reaches a declared site also there.
 *
 * Ownership  init/fini; texts lie in its arena and are no one else's.
 * Threads    Reads both rulesets; any.
 * Limits     DIFFERENCES_MAX are kept, the others counted.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/ruleset.h"

#define DIFFERENCES_MAX 10000

struct difference_value {
	enum { DIFFERENCE_NONE, DIFFERENCE_TEXT, DIFFERENCE_NUMBER, DIFFERENCE_BOOL, DIFFERENCE_SECONDS, DIFFERENCE_LIST } kind;
	const char *text;               /* as a policy writes it; NULL: NONE */
	double      number;             /* NUMBER, SECONDS; BOOL: 0 or 1 */
	unsigned    list_n;
	const double *list;             /* LIST: seconds */
};

struct difference {
	bool        of_queue;
	const char *place;              /* "google/mta-1"; `provider "google"` */
	const char *setting;            /* "max_smtp_out"; "" the place itself: declared or not */
	struct difference_value from, to;
};

struct differences {
	struct arena arena;
	struct difference *all;
	unsigned n, cap;
	unsigned left_out;
};

void differences_init(struct differences *out);
void differences_fini(struct differences *out);

void differences_of(struct differences *out, const struct ruleset *from, const struct ruleset *to);
/* A queue, by its name and the domain that its settings go by. Its site may be another one's afterwards. */
void differences_of_queue(struct differences *out, const struct ruleset *from, const struct ruleset *to, const char *queue,
			  const char *site, const char *domain, const char *vmta);
