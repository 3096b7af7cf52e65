/*
 * ceiling - how many messages an hour a queue can send at the very most, from
 * its settings alone: 50 connects an hour × 10 messages a connection = 500.
 *
 * The best hour counts: a burst after a quiet window, then the paced rest.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/scope.h"

struct ceiling {
	bool        bounded;            /* else nothing bounds it */
	double      msgs_per_hour;
	const char *bound_by;           /* "max_connect_rate × max_msg_per_connection", "vmta.max_msg_rate" */
	enum scope_level level;         /* whose bound it is, */
	bool        by_connects;        /* and which of its two */
};

/* What a rate lets through in its best hour. Not of an unlimited one. */
double ceiling_best_hour(const struct rate_spec *rate);

/* limits: by enum scope_level; NULL where there is no such scope. */
struct ceiling ceiling_of(const struct queue_settings *settings, const struct scope_limits *const limits[SCOPES_N]);
