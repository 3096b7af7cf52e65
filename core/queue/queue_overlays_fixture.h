/*
 * queue_overlays_fixture - for tests: a world with three virtual MTAs, and overlays to
 * lay on what is in it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue_fixture.h"

#define POLICY \
	"vmta \"v1\" { source = { \"192.0.2.1\", \"192.0.2.2\" } }\nvmta \"v2\" { source = \"any\" }\nvmta \"v3\" { source = \"any\" }\n" \
	"pool \"others\" { \"v2\", \"v3\" }\n" \
	"domain \"*\" { retry_jitter = \"0%%\", max_smtp_out = 6, total_max_smtp_out = 8, %s }\n"

static inline struct world *
world_with(const char *settings)
{
	char policy[1000];

	snprintf(policy, sizeof policy, POLICY, settings);
	return world_new(policy);
}

static inline struct tightening
cap(enum setting_id setting, uint32_t n)
{
	return (struct tightening){ .setting = setting, .count = n };
}

static inline struct overlay_spec
rule(const char *name, int64_t lasts, const struct tightening *t, unsigned n)
{
	return (struct overlay_spec){
		.name = name, .pattern = name, .reply = "421 no", .where = { "p.lua", 7, "" }, .lasts_us = lasts,
		.tightenings = t, .tightenings_n = n,
	};
}

static inline void
lay(struct world *w, const char *queue, enum overlay_scope scope, const struct overlay_spec *spec)
{
	assert_true(queue_lay(queue_called(w, queue), scope, spec, world_now(w), w->loop.now));
}

static inline void
suspend(struct world *w, const char *queue, enum overlay_scope scope, int64_t lasts)
{
	struct overlay_spec spec = rule("suspend", lasts, NULL, 0);

	spec.suspend = true;
	lay(w, queue, scope, &spec);
}

static inline void
reroute(struct world *w, const char *queue, const char *to, int64_t lasts)
{
	struct overlay_spec spec = rule(to, lasts, NULL, 0);

	spec.reroute = to;
	lay(w, queue, OVERLAY_QUEUE, &spec);
}

static inline const struct gate_state *
gate_of(const struct queue *q, mono_us_t now, enum gate gate)
{
	static struct gate_answer answer;

	gate_decide(q, now, &answer);
	for (unsigned i = 0; i < answer.n; i++)
		if (answer.all[i].gate == gate)
			return &answer.all[i];
	return NULL;
}

static inline enum play_answer
temporarily(struct world *w, struct played *s, const struct rcpt *rcpt)
{
	return PLAY_TEMP;
}
