/*
 * world_fixture - for tests: worlds that open or say why not, and mail that is
 * spread over domains.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/policy_fixture.h"
#include "sim/world.h"

static inline struct world *
fixture_world(const struct world_options *options)
{
	struct policy_report report;
	struct err err = { 0 };
	struct world *world;

	policy_report_init(&report);
	world = world_new(options, &report, &err);
	if (world == NULL)
		fail_msg("%s", report.errors_n ? report.errors[0].text : err.text);
	policy_report_fini(&report);
	return world;
}

/* Whom an injection is to: u0@d1.example, u1@d2.example, and so on, over so many domains. */
struct fixture_spread {
	struct buf text;
	unsigned   domains;
};

static inline const char *
fixture_spread_to(void *ctx, uint64_t i)
{
	struct fixture_spread *to = ctx;

	buf_clear(&to->text);
	buf_add_char(&to->text, 'u');
	buf_add_u64(&to->text, i);
	buf_add_text(&to->text, "@d");
	buf_add_u64(&to->text, i % to->domains + 1);
	buf_add_text(&to->text, ".example");
	return buf_text(&to->text);
}
