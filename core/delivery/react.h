/*
 * react - what the policy does about a receiver's reply: the rules that match it,
 * in order, then on.reply; and the clocks of on.every.
 *
 * What lies on queues, sites and virtual MTAs afterwards (overlays, a retry) is
 * done here; what concerns this session and this recipient is the verdict.
 *
 * Ownership  new/free.
 * Threads    The shard's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "delivery/delivery.h"
#include "shard.h"

struct react;

struct react_event {
	struct queue    *queue;
	enum smtp_stage  stage;         /* CONNECT for every failure of our own making: "400 connect timed out" */
	const struct smtp_reply *reply; /* neither 2xx nor 3xx */
	mono_us_t        opened;        /* when the session began */
	const struct ip *source;        /* the local address; NULL: there was none yet */
};

struct react_verdict {
	bool defer;                     /* the queue is in retry now */
	bool skip_mx, close, reroute;
	bool source_off;                /* the local address is not to be used any more */
	enum reaction_bounce bounce;
	struct duration_list floor;     /* of this recipient's retry; n 0: none */
};

struct react *react_new(struct shard *shard);
/* The shard's policy is another one now. */
void react_take_policy(struct react *react);
void react_free(struct react *react);

void react(struct react *react, const struct react_event *event, struct now now, struct react_verdict *out);
