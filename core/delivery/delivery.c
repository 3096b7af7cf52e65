/*
 * delivery - what the queues ask is done by sessions and by outcome.
 *
 * The queues outlive delivery: what the spool's end makes durable is still queued, and mail between shards still
 * arrives. So they know the shard, and what cannot be ended without delivery waits for the next run.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/delivery.h"

#include "delivery/bounces.h"
#include "delivery/drops.h"
#include "delivery/react.h"
#include "delivery/session.h"
#include "queue/queue_hand.h"

static struct queue_slot *
on_start(void *ctx, struct lane *lane, struct rcpt *first)
{
	return session_start(((struct shard *)ctx)->delivery, lane, first);
}

static void
on_send(void *ctx, struct queue_slot *slot, struct rcpt **rcpts, unsigned n)
{
	session_send(slot, rcpts, n);
}

static void
on_quit(void *ctx, struct queue_slot *slot)
{
	session_quit(slot);
}

static void
on_idle(void *ctx, struct queue_slot *slot)
{
	session_idle(slot);
}

static void
on_give_up(void *ctx, struct rcpt *rcpt, const char *status, const char *text)
{
	struct shard *shard = ctx;

	outcome_give_up(shard, rcpt, status, text, loop_now(shard->loop));
}

static void
on_queue_failed(void *ctx, struct queue *queue, const struct smtp_reply *reply)
{
	struct shard *shard = ctx;

	outcome_queue_failed(shard, queue, reply, loop_now(shard->loop));
}

/* A failed look-up, until the policy has seen it. */
struct delivery_unseen {
	struct list       node;
	struct smtp_reply reply;
	char              queue[];
};

/* Between two events: a rule may bounce what the caller of on_dns_failed() has in its hands. */
static void
on_unseen(void *ctx, struct now now)
{
	struct delivery *delivery = ctx;
	struct list unseen;

	list_init(&unseen);
	list_splice_tail(&unseen, &delivery->unseen);
	while (!list_empty(&unseen)) {
		struct delivery_unseen *seen = list_first(&unseen, struct delivery_unseen, node);
		struct react_event event = {
			.queue = queues_find(delivery->shard->queues, span_text(seen->queue)),
			.stage = SMTP_STAGE_CONNECT, .reply = &seen->reply, .opened = now.mono - 1,
		};
		struct react_verdict verdict;

		list_remove(&seen->node);
		if (event.queue != NULL) {
			react(delivery->react, &event, now, &verdict);
			if (verdict.bounce == REACTION_BOUNCE_QUEUE)
				outcome_bounce_queue(delivery->shard, event.queue, &seen->reply, now);
		}
		free(seen);
	}
}

static void
on_dns_failed(void *ctx, struct queue *queue, const struct smtp_reply *reply)
{
	struct delivery *delivery = ((struct shard *)ctx)->delivery;
	size_t n = strlen(queue->name);
	struct delivery_unseen *unseen;

	if (delivery == NULL)
		return;
	unseen = mem_alloc(sizeof *unseen + n + 1);
	unseen->reply = *reply;
	memcpy(unseen->queue, queue->name, n);
	list_add_tail(&delivery->unseen, &unseen->node);
	timer_start(&delivery->shard->loop->timers, &delivery->unseen_timer, loop_now(delivery->shard->loop).mono);
}

struct queue_ops
delivery_ops(struct delivery *delivery)
{
	return (struct queue_ops){ on_start, on_send, on_quit, on_idle, on_give_up, on_queue_failed, on_dns_failed, delivery->shard };
}

struct delivery *
delivery_new(struct shard *shard)
{
	struct delivery *delivery = mem_alloc(sizeof *delivery);

	delivery->shard = shard;
	list_init(&delivery->sessions);
	list_init(&delivery->spares);
	table_init(&delivery->tls, prng_u64(&shard->prng));
	delivery->react = react_new(shard);
	list_init(&delivery->unseen);
	timer_init(&delivery->unseen_timer, on_unseen, delivery);
	shard->bounces = bounces_new(shard);
	shard->drops = drops_new(shard);
	delivery->next_source = mem_alloc((policy_ruleset(shard->policy)->vmtas_n + 1) * sizeof *delivery->next_source);
	return delivery;
}

/* Each goes on with the source whose turn it is. */
static void
sources_take_ruleset(struct delivery *delivery, const struct ruleset *before, const struct ruleset *ruleset)
{
	unsigned *next_source = mem_alloc((ruleset->vmtas_n + 1) * sizeof *next_source);

	for (unsigned i = 0; i < ruleset->vmtas_n; i++) {
		const struct ruleset_vmta *vmta = ruleset_vmta(before, span_text(ruleset->vmtas[i]->name));

		next_source[i] = vmta != NULL ? delivery->next_source[vmta->index] : 0;
	}
	free(delivery->next_source);
	delivery->next_source = next_source;
}

/* A certificate authority that is trusted no longer; what is open stays so. */
static void
forget_old_authorities(struct delivery *delivery)
{
	struct delivery_tls *tls;
	uint32_t pos = 0;

	while ((tls = table_next(&delivery->tls, &pos)) != NULL) {
		if (tls->client == NULL || tls_client_is_current(tls->client))
			continue;
		tls_client_free(tls->client);
		tls->client = NULL;
	}
}

void
delivery_take_policy(struct delivery *delivery, const struct ruleset *before)
{
	sources_take_ruleset(delivery, before, policy_ruleset(delivery->shard->policy));
	forget_old_authorities(delivery);
	react_take_policy(delivery->react);
}

void
delivery_free(struct delivery *delivery)
{
	struct delivery_tls *tls;
	uint32_t pos = 0;

	if (delivery == NULL)
		return;
	while (!list_empty(&delivery->sessions))
		session_abort(session_of(delivery->sessions.next));
	list_each_safe(node, &delivery->spares)
		session_free_spare(session_of(node));
	while (delivery->spare_arenas_n > 0)
		arena_fini(&delivery->spare_arenas[--delivery->spare_arenas_n]);
	bounces_free(delivery->shard);
	drops_free(delivery->shard);
	while ((tls = table_next(&delivery->tls, &pos)) != NULL) {
		tls_client_free(tls->client);
		free(tls->ca);
		free(tls);
	}
	table_fini(&delivery->tls);
	timer_stop(&delivery->shard->loop->timers, &delivery->unseen_timer);
	while (!list_empty(&delivery->unseen)) {
		struct delivery_unseen *unseen = list_first(&delivery->unseen, struct delivery_unseen, node);

		list_remove(&unseen->node);
		free(unseen);
	}
	react_free(delivery->react);
	free(delivery->next_source);
	free(delivery);
}

void
delivery_source_off(struct delivery *delivery, const struct queue *queue, const struct ip *source)
{
	list_each_safe(node, &delivery->sessions)
		session_source_off(session_of(node), queue, source);
}

void
delivery_make_room(struct delivery *delivery)
{
	list_each_safe(node, &delivery->sessions)
		session_leave_if_idle(session_of(node));
}

void
delivery_stop(struct delivery *delivery)
{
	delivery->stopping = true;
	list_each_safe(node, &delivery->sessions)
		session_stop(session_of(node));
}

unsigned
delivery_sessions(const struct delivery *delivery)
{
	return delivery->sessions_n;
}

unsigned
delivery_waiting_final(const struct delivery *delivery)
{
	unsigned n = 0;

	list_each(node, &delivery->sessions)
		n += session_waits_for_final(session_of(node));
	return n;
}

struct tls_client *
delivery_tls_client(struct delivery *delivery, const char *ca, struct err *err)
{
	struct span key = span_text(ca != NULL ? ca : "");
	struct delivery_tls *tls = table_get(&delivery->tls, key);
	struct tls_client *client;

	if (tls != NULL && tls->client != NULL)
		return tls->client;
	client = tls_client_new(ca, err);
	if (client == NULL)
		return NULL;
	if (tls == NULL) {
		tls = mem_alloc(sizeof *tls);
		tls->ca = mem_strndup(key.p, key.n);
		table_put(&delivery->tls, span_text(tls->ca), tls);
	}
	tls->client = client;
	return client;
}
