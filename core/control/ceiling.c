/*
 * Each scope offers two bounds: its message rate, and its connect rate times
 * what one connection may carry. The least of all holds; between equals the
 * narrower scope is named, and in it the message rate, because that is the
 * number an operator would change first.
 *
 * A rate of N in W with a burst B lets B go at once and paces N − B a window
 * (limit/rate.h), so its best hour has B + (N − B) × 1h/W, and never over N
 * where the window is longer than an hour.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ceiling.h"

#define HOUR_US (3600 * US_PER_S)

static const struct names {
	const char *messages, *connects;
} names[SCOPES_N] = {
	[SCOPE_QUEUE] = { "max_msg_rate", "max_connect_rate × max_msg_per_connection" },
	[SCOPE_SITE]  = { "total_max_msg_rate", "total_max_connect_rate × max_msg_per_connection" },
	[SCOPE_VMTA]  = { "vmta.max_msg_rate", "vmta.max_connect_rate × max_msg_per_connection" },
	[SCOPE_POOL]  = { "pool.max_msg_rate", "pool.max_connect_rate × max_msg_per_connection" },
	[SCOPE_NODE]  = { "node.max_msg_rate", "node.max_connect_rate × max_msg_per_connection" },
};

double
ceiling_best_hour(const struct rate_spec *rate)
{
	double paced = (double)(rate->count - rate->burst) * (double)HOUR_US / (double)rate->window_us;
	double hour = paced + rate->burst;
	return rate->window_us >= HOUR_US && hour > rate->count ? rate->count : hour;
}

static void
lower(struct ceiling *ceiling, double msgs_per_hour, enum scope_level level, bool by_connects)
{
	if (ceiling->bounded && ceiling->msgs_per_hour <= msgs_per_hour)
		return;
	*ceiling = (struct ceiling){
		.bounded = true, .msgs_per_hour = msgs_per_hour, .level = level, .by_connects = by_connects,
		.bound_by = by_connects ? names[level].connects : names[level].messages,
	};
}

struct ceiling
ceiling_of(const struct queue_settings *settings, const struct scope_limits *const limits[SCOPES_N])
{
	struct ceiling ceiling = { 0 };

	for (unsigned level = 0; level < SCOPES_N; level++) {
		const struct scope_limits *at = limits[level];
		if (!at)
			continue;
		if (!rate_unlimited(&at->max_msg_rate))
			lower(&ceiling, ceiling_best_hour(&at->max_msg_rate), level, false);
		if (!rate_unlimited(&at->max_connect_rate) && settings->max_msg_per_connection != UNLIMITED)
			lower(&ceiling, ceiling_best_hour(&at->max_connect_rate) * settings->max_msg_per_connection, level, true);
	}
	return ceiling;
}
