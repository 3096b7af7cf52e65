/*
 * overlay_fixture - for tests: overlays over settings of one queue, without the queue.
 * Time is an argument throughout.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "queue/overlay.h"

#define S   US_PER_S
#define MIN (60 * US_PER_S)
#define H   (3600 * US_PER_S)
#define T0  (100 * H)

struct bench {
	struct overlays o;
	struct queue_settings in_force, declared;
	struct overlay_ground ground;
	unsigned changes;
};

static inline int
set_up(void **state)
{
	struct bench *b = mem_alloc(sizeof *b);

	overlays_init(&b->o, 1);
	b->declared.max_smtp_out = 20;
	b->declared.total_max_smtp_out = UNLIMITED;
	b->declared.max_msg_rate = (struct rate_spec){ 2000, 0, H };
	b->declared.retry_after = (struct duration_list){ 2, { 10 * MIN, 20 * MIN } };
	b->declared.retry_after_dns_error = MIN;
	b->declared.idle_timeout = 5 * S;
	b->in_force = b->declared;
	b->ground = (struct overlay_ground){ &b->in_force, &b->declared };
	*state = b;
	return 0;
}

static inline int
tear_down(void **state)
{
	struct bench *b = *state;

	overlays_fini(&b->o);
	free(b);
	return 0;
}

static inline void
on_change(void *ctx, const struct overlay_target *target)
{
	((struct bench *)ctx)->changes++;
}

static inline void
run(struct bench *b, mono_us_t now)
{
	overlays_run(&b->o, now, on_change, b);
}

/* A rule called `name`, on line `line`, with one cap. */
static inline struct overlay_spec
rule(const char *name, int line, int64_t lasts, struct tightening *t)
{
	return (struct overlay_spec){
		.name = name, .pattern = name, .reply = "421 4.7.0 no", .where = { "p.lua", line, "" }, .lasts_us = lasts,
		.tightenings = t, .tightenings_n = t != NULL,
	};
}

static inline struct tightening
cap(uint32_t n)
{
	return (struct tightening){ .setting = SETTING_max_smtp_out, .count = n };
}

static inline struct tightening
percent(enum setting_id setting, double of, uint32_t least)
{
	return (struct tightening){ .setting = setting, .is_percent = true, .percent = of, .floor = least };
}

static inline struct overlay *
lay(struct bench *b, const struct overlay_spec *spec, mono_us_t opened, mono_us_t now)
{
	struct overlay *o = overlays_lay(&b->o, OVERLAY_QUEUE, "a/m", spec, &b->ground, opened, now);

	/* As the queue does it: what lies there is in force. */
	b->in_force = b->declared;
	list_each(node, &overlays_of(&b->o, OVERLAY_QUEUE, "a/m")->overlays) {
		struct overlay *each = list_entry(node, struct overlay, node);

		for (unsigned i = 0; i < each->changes_n; i++) {
			enum setting_id id = each->changes[i].to.setting;

			overlay_tighten(each, id, overlay_setting(&b->in_force, id), &b->in_force.where[id], now);
		}
	}
	return o;
}

/* max_smtp_out with all that lies on the queue; UNLIMITED: nothing does. */
static inline uint32_t
cap_now(const struct bench *b, mono_us_t now)
{
	const struct overlay_target *target = overlays_of(&b->o, OVERLAY_QUEUE, "a/m");
	uint32_t value = b->declared.max_smtp_out;
	struct where where;

	if (target == NULL)
		return value;
	list_each(node, &target->overlays)
		overlay_tighten(list_entry(node, struct overlay, node), SETTING_max_smtp_out, &value, &where, now);
	return value;
}
