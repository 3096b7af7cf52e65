/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ceiling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct rate_spec
rate(const char *text)
{
	struct rate_spec spec = { 0 };
	assert_true(rate_parse(span_text(text), &spec, NULL));
	return spec;
}

static void
names_the_least_bound(void **state)
{
	static const struct {
		const char *connects, *messages, *vmta_messages;
		uint32_t    a_connection;
		double      msgs_per_hour;
		const char *bound_by;
	} cases[] = {
		{ "50/h", "unlimited", "unlimited", 10, 500, "max_connect_rate × max_msg_per_connection" },
		{ "50/h", "1000/h", "unlimited", 10, 500, "max_connect_rate × max_msg_per_connection" },
		{ "50/h", "400/h", "unlimited", 10, 400, "max_msg_rate" },
		{ "50/h", "500/h", "unlimited", 10, 500, "max_msg_rate" },
		{ "50/h", "unlimited", "unlimited", UNLIMITED, 0, NULL },
		{ "50/h", "unlimited", "2/s", UNLIMITED, 7200, "vmta.max_msg_rate" },
		{ "unlimited", "100/15m", "1000/h", UNLIMITED, 400, "max_msg_rate" },
		{ "unlimited", "48/day", "unlimited", UNLIMITED, 2, "max_msg_rate" },
		{ "unlimited", "unlimited", "unlimited", 10, 0, NULL },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct queue_settings settings = { .max_msg_per_connection = cases[i].a_connection };
		struct scope_limits queue = { .max_connect_rate = rate(cases[i].connects), .max_msg_rate = rate(cases[i].messages) };
		struct scope_limits vmta = { .max_msg_rate = rate(cases[i].vmta_messages) };
		const struct scope_limits *limits[SCOPES_N] = { [SCOPE_QUEUE] = &queue, [SCOPE_VMTA] = &vmta };
		struct ceiling ceiling = ceiling_of(&settings, limits);

		assert_int_equal(ceiling.bounded, cases[i].bound_by != NULL);
		if (!ceiling.bounded)
			continue;
		assert_float_equal(ceiling.msgs_per_hour, cases[i].msgs_per_hour, 1e-9);
		assert_string_equal(ceiling.bound_by, cases[i].bound_by);
	}
}

static void
counts_a_burst_once_in_the_best_hour(void **state)
{
	static const struct { const char *rate; uint32_t burst; double msgs_per_hour; } cases[] = {
		{ "400/h", 50, 400 },
		{ "60/m", 10, 50 * 60 + 10 },
		{ "2400/day", 240, 90 + 240 },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct queue_settings settings = { .max_msg_per_connection = UNLIMITED };
		struct scope_limits queue = { .max_msg_rate = rate(cases[i].rate) };
		const struct scope_limits *limits[SCOPES_N] = { [SCOPE_QUEUE] = &queue };

		queue.max_msg_rate.burst = cases[i].burst;
		assert_float_equal(ceiling_of(&settings, limits).msgs_per_hour, cases[i].msgs_per_hour, 1e-9);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_least_bound),
		cmocka_unit_test(counts_a_burst_once_in_the_best_hour),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
