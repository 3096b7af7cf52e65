/*
 * control_swap - `swap` on the control socket: what is asked, and what came of it as JSON.
 *
 * Loading a policy takes its time and happens elsewhere, so the answer comes later;
 * until then the peer is not read.
 *
 * Ownership  A struct control_later ends with its one answer, whether or not the peer is still there.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "control/control_request.h"
#include "policy/difference.h"
#include "policy/policy.h"

struct control;
struct control_later;

struct control_swap {
	const char *policy;             /* NULL: the file of the policy in force */
	const char *base;               /* the folder that it is named from */
	bool        back, dry_run;
};

/* Borrowed for the call. */
typedef void control_swap_fn(void *ctx, const struct control_swap *asked, struct control_later *later);
void control_on_swap(struct control *control, control_swap_fn *fn, void *ctx);

bool control_swap_parse(const struct control_request *request, struct control_swap *out, struct err *err);

/* The result is JSON; one without text: it went wrong, as `error` says. */
void control_answer_later(struct control_later *later, struct span result, const char *error);

/* JSON onto *out. `changed` may be long, and is for another thread than the loop's to write. */
void control_answer_changed(const struct differences *differences, struct buf *out);
void control_answer_swapped(uint32_t generation, struct span changed, unsigned left_out, int64_t took_us, struct buf *out);
/* FILE:LINE: and what is wrong, or FILE: alone; the node goes on as it was. */
void control_answer_refused(const struct policy_report *report, struct buf *out);
void control_answer_refused_for(const char *why, struct buf *out);
