/*
 * session_seek - a session looks for an address that takes it, and what it means
 * when one does not.
 *
 * A cycle goes through the target's addresses. Each one needs a source of its
 * family that is in use and a payment to the connect rate; then it is dialed. One
 * that fails is shown to the policy, and the next follows unless the policy defers.
 * When none is left, the queue is told why: that decides whether the site is
 * probed, the lane is dead, or its recipients merely wait.
 *
 * session_seek() is entered anew from the top whenever something it waits for is
 * there (names, the connect rate, the peer's end of the connection before), so
 * what it has got so far stands in the session: has_address, connect_paid. By then
 * the queue may not want the session any more, which is asked first.
 *
 * Everything here may end the session; who calls is inside session_enter().
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/session_own.h"

#include "delivery/delivery.h"

#define ROOM_US      (500 * US_PER_MS)
#define TELL_ROOM_US (60 * US_PER_S)

void
session_fail_reply(struct smtp_reply *reply, const char *enhanced, const char *format, const char *what)
{
	char text[400];

	snprintf(text, sizeof text, format, what);
	smtp_reply_make(reply, 400, "", text);
	snprintf(reply->enhanced, sizeof reply->enhanced, "%s", enhanced);
}

/* ---- an address has failed ---- */

/* It has closed, or had its time to. */
void
session_parted(struct session *s)
{
	session_drop_connection(s);
	s->leaves = false;
	s->state = SEEKING;
	session_seek(s);
}

/* The peer is there and knows that it is over; what is to follow waits for its end of the connection. */
void
session_part(struct session *s, enum session_state how)
{
	s->state = how;
	/* One that says 421 closes by itself; should it listen all the same, it need not wait for a time-out. */
	if (s->client.reply.code == 421 && !s->half_sent)
		session_say_quit(s);
	if (how == QUITTING && s->slot.state != SLOT_CLOSING)
		queue_slot_closing(&s->slot);
	session_arm(s, SESSION_CLOSE_TIMEOUT_US);
}

/* This address is no good: the next one, unless the policy or the queue thinks otherwise by now. The peer is gone, or
 * `refused` us and is about to go. */
void
session_address_failed(struct session *s, enum smtp_stage stage, const struct smtp_reply *why, bool refused)
{
	struct queue *queue = s->slot.lane->queue;
	struct react_verdict verdict;

	s->last = *why;                 /* it may be the client's, which ends */
	s->any_failed = true;
	if (why->local)
		session_tell(s, TRACE_EVENT, span_text(s->last.line));
	log_debug(s->delivery->shard->log, "%s: %s (%s): %s", queue->name, s->host, s->address, s->last.line);
	session_look_at(s, stage, &s->last, &verdict);
	if (verdict.bounce == REACTION_BOUNCE_QUEUE)
		outcome_bounce_queue(s->delivery->shard, queue, &s->last, session_now(s));
	if (verdict.skip_mx)
		target_skip_host(&s->target);
	if (refused)
		session_part(s, verdict.defer ? QUITTING : PARTING);
	else if (verdict.defer)
		session_over(s);
	else
		session_parted(s);
}

/* The carried go to another host; the connection has done its part. */
void
session_next_host(struct session *s, bool peer_gone)
{
	s->last = s->carried_reply;
	s->any_failed = true;
	s->no_tls = s->connect_paid = false;
	queue_slot_seeks_again(&s->slot);
	target_skip_host(&s->target);
	if (peer_gone) {
		session_parted(s);
		return;
	}
	if (!s->client.ended)
		session_say_quit(s);
	session_part(s, PARTING);
}

/* ---- seeking ---- */

/* Nothing further to try: what the queue is told depends on why. */
static void
seek_failed(struct session *s)
{
	struct lane *lane = s->slot.lane;
	struct now now = session_now(s);
	struct react_verdict verdict;
	struct smtp_reply reply;

	if (s->carried_n > 0) {
		/* The hosts have answered; these recipients wait their time, the queue need not. */
	} else if (s->any_failed) {
		queue_slot_failed(&s->slot, &s->last, false, now);
	} else if (s->sources_off) {
		session_fail_reply(&reply, "4.4.1", "%s", "no source address may be used for it now");
		queue_slot_failed(&s->slot, &reply, false, now);
	} else if (s->target.dns_failed > 0) {
		session_fail_reply(&reply, "4.4.3", "dns: %s", s->target.dns_detail);
		session_look_at(s, SMTP_STAGE_CONNECT, &reply, &verdict);
		queue_slot_failed(&s->slot, &reply, true, now);
		if (verdict.bounce == REACTION_BOUNCE_QUEUE)
			outcome_bounce_queue(s->delivery->shard, lane->queue, &reply, now);
	} else if (s->target.refused > 0) {
		queue_lane_dead(lane, "5.4.4", "every mail exchanger resolves to an address that leads back here or nowhere", now);
	} else {
		queue_lane_dead(lane, "5.4.4", "no mail exchanger has an address that can be reached", now);
	}
	session_over(s);
}

/* The next one in turn that may be used. False: none of that family. */
static bool
choose_source(struct session *s, enum ip_family family)
{
	const struct ruleset_vmta *vmta = s->slot.lane->queue->vmta;
	unsigned *next = &s->delivery->next_source[vmta->index];

	s->source = (struct ip){ 0 };
	for (unsigned i = 0; i < vmta->sources_n; i++) {
		const struct ip *source = &vmta->sources[(*next)++ % vmta->sources_n];

		if (source->family != family || queue_source_is_off(s->slot.lane->queue, source, session_now(s).mono))
			continue;
		s->source = *source;
		return true;
	}
	return vmta->sources_n == 0;
}

/* Names that take their time to resolve may outlast what was paid before. */
static bool
pay_connect(struct session *s)
{
	mono_us_t now = session_now(s).mono, at;

	if (s->connect_paid && !queue_slot_payment_lapsed(&s->slot, s->connect_paid_at, now))
		return true;
	s->connect_paid = false;
	if (!queue_slot_connect(&s->slot, now, &at)) {
		timer_start(&s->delivery->shard->loop->timers, &s->timer, at);
		return false;
	}
	s->connect_paid = true;
	s->connect_paid_at = now;
	return true;
}

/* This machine is short of descriptors. No receiver is at fault, so neither policy nor queue hears of a failure: the same
 * address again in a moment, with what was paid for it, and until then nobody idles. */
static void
wait_for_room(struct session *s, const struct err *err)
{
	struct delivery *delivery = s->delivery;
	mono_us_t now = session_now(s).mono;

	if (delivery->room_made == 0 || now - delivery->room_made >= ROOM_US) {
		delivery->room_made = now;
		delivery_make_room(delivery);
	}
	if (delivery->room_told == 0 || now - delivery->room_told >= TELL_ROOM_US) {
		log_warning(delivery->shard->log, "%s; sessions wait for one (LimitNOFILE, ulimit -n)", err->text);
		delivery->room_told = now;
	}
	session_tell(s, TRACE_EVENT, span_text(err->text));
	s->has_address = s->connect_paid = true;
	timer_start(&delivery->shard->loop->timers, &s->timer, now + ROOM_US);
}

static void
dial(struct session *s)
{
	static const enum setting_id asked[] = { SETTING_use_starttls, SETTING_require_starttls, SETTING_verify_tls };
	struct shard *shard = s->delivery->shard;
	const struct ruleset *ruleset = policy_ruleset(shard->policy);
	const struct ruleset_vmta *vmta = s->slot.lane->queue->vmta;
	struct smtp_client_config config = {
		.helo = s->helo,
		.use_starttls = session_settings(s)->use_starttls && !s->no_tls,
		.require_starttls = session_settings(s)->require_starttls || session_settings(s)->verify_tls,
	};
	struct smtp_reply reply;
	struct err err = { 0 };

	for (unsigned i = 0; i < countof(asked); i++)
		queue_used(s->slot.lane->queue, asked[i]);
	span_put(span_text(vmta->hostname ? vmta->hostname : ruleset->node.hostname), s->helo, sizeof s->helo);
	target_host_name(&s->target, &s->at, s->host);
	ip_format(&s->at.ip, s->address);
	s->local[0] = '\0';
	s->connect_paid = false;
	s->conn = net_dial(shard->net, s->source.family != IP_NONE ? &s->source : NULL, &s->at, &session_events, s, &err);
	if (s->conn == NULL && err.kind == ERR_TEMP) {
		wait_for_room(s, &err);
		return;
	}
	if (s->conn == NULL) {
		session_fail_reply(&reply, "4.4.1", "%s", err.text);
		session_address_failed(s, SMTP_STAGE_CONNECT, &reply, false);
		return;
	}
	smtp_client_restart(&s->client, &config);
	s->client_live = true;
	s->replies = 0;
	s->half_sent = false;
	s->state = CONNECTING;
	session_arm_by(s, SETTING_connect_timeout);
}

static enum target_result
next_address(struct session *s)
{
	const struct ruleset *ruleset = policy_ruleset(s->delivery->shard->policy);
	enum target_result result;

	while ((result = target_next(&s->target, session_settings(s), &s->at)) == TARGET_ADDRESS &&
	       target_leads_back(&s->target, ruleset, &s->at, NULL))
		s->target.refused++;
	return result;
}

/* False: the resolver is asked, or there is none left. */
static bool
find_address(struct session *s)
{
	switch (next_address(s)) {
	case TARGET_WAIT:
		timer_stop(&s->delivery->shard->loop->timers, &s->timer);       /* the resolver has its own */
		return false;
	case TARGET_ADDRESS:
		s->no_tls = s->clear_tried = false;
		s->has_address = true;
		return true;
	case TARGET_NONE:
		if (s->target.next_host < s->target.hosts->n)
			queue_used(s->slot.lane->queue, SETTING_mx_connection_attempts);
		seek_failed(s);
	}
	return false;
}

/* Nothing is to be tried now. If nothing was left to try either, the queue has failed, and waits, as without the
 * suspension that the last reply may have laid. */
static void
end_unwanted(struct session *s)
{
	struct now now = session_now(s);

	if (s->any_failed && s->carried_n == 0 && s->slot.lane->queue->hold.suspended_until > now.mono &&
	    !target_has_another_host(&s->target, session_settings(s)))
		queue_slot_failed(&s->slot, &s->last, false, now);
	session_over(s);
}

/* The address first: who has none left fails now, not when the connect rate would have let him try. */
void
session_seek(struct session *s)
{
	check(s->state == SEEKING);
	if (queue_slot_unwanted(&s->slot, session_now(s).mono)) {
		end_unwanted(s);
		return;
	}
	if (s->no_tls && !s->clear_tried)
		s->clear_tried = s->has_address = true;
	for (;;) {
		if (!s->has_address && !find_address(s))
			return;
		if (!pay_connect(s))
			return;
		s->has_address = false;
		if (s->clear_tried || choose_source(s, s->at.ip.family))
			break;
		s->sources_off = true;
	}
	if (s->target.host->port == 0)
		queue_used(s->slot.lane->queue, SETTING_smtp_port);
	dial(s);
}
