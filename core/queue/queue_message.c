/*
 * queue_message - messages and their jobs, from the reception until the last recipient is over.
 *
 * A message lives while a recipient of it does, or somebody holds it; a job while a
 * message of it does. What a message adds is counted before any of it is placed, since
 * placing may end a recipient at once.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

/* ---- messages ---- */

struct message *
message_new(unsigned rcpts_n)
{
	return mem_alloc(sizeof(struct message) + rcpts_n * sizeof(struct rcpt));
}

void
message_free(struct message *message)
{
	free(message);
}

static struct job *
job_get(struct queues *queues, struct span name)
{
	struct job *job = table_get(&queues->jobs, name);

	if (job == NULL) {
		job = mem_alloc(sizeof *job + name.n + 1);
		if (name.n > 0)
			memcpy(job->name, name.p, name.n);
		table_put(&queues->jobs, span_text(job->name), job);
	}
	job->refs++;
	return job;
}

static void
job_unref(struct queues *queues, struct job *job)
{
	if (--job->refs > 0)
		return;
	table_remove(&queues->jobs, span_text(job->name));
	free(job);
}

void
message_hold(struct message *message)
{
	message->holds++;
}

void
message_maybe_free(struct queues *queues, struct message *message)
{
	if (message->live > 0 || message->holds > 0)
		return;
	job_unref(queues, message->job);
	message_free(message);
}

void
message_unhold(struct queues *queues, struct message *message)
{
	check(message->holds > 0);
	message->holds--;
	message_maybe_free(queues, message);
}

void
message_poll(struct message *message, struct now now)
{
	struct queue *last = NULL;

	for (unsigned i = 0; i < message->spool.rcpts_n; i++) {
		struct rcpt *rcpt = &message->rcpts[i];

		if ((rcpt->state != RCPT_READY && rcpt->state != RCPT_DEFERRED) || rcpt->queue == last)
			continue;
		last = rcpt->queue;
		queue_poll(last, now);
	}
}

/* ---- entering ---- */

/* A reception that lies ahead: the clock was set back since, and due times of before are seen from there. */
static wall_ms_t
now_of_due(wall_ms_t due, wall_ms_t received, wall_ms_t now)
{
	return due.ms >= received.ms && received.ms > now.ms ? received : now;
}

static void
rcpt_init(struct rcpt *rcpt, struct message *message, unsigned index, const struct spool_rcpt_state *state,
	  struct now now)
{
	rcpt->message = message;
	rcpt->index = (uint16_t)index;
	rcpt->state = RCPT_OVER;
	list_init(&rcpt->node);
	wheel_node_init(&rcpt->expiry);
	if (state == NULL)
		return;
	rcpt->attempts = state->attempts;
	if (state->due.ms != 0)
		rcpt->due.key = now.mono + (state->due.ms - now_of_due(state->due, message->received, now.wall).ms) * US_PER_MS;
}

void
queues_add(struct queues *queues, struct message *message, const struct envelope *envelope,
	   const struct spool_rcpt_state *states, struct now now)
{
	const struct ruleset_vmta *vmta = ruleset_vmta(queues->o.ruleset, envelope->vmta);

	check(vmta != NULL);            /* the caller has looked */
	message->received = envelope->received;
	message->accepted = now.mono - max_i64(0, now.wall.ms - envelope->received.ms) * US_PER_MS;
	message->job = job_get(queues, envelope->job);
	message->priority = envelope->priority;
	message_hold(message);
	for (unsigned i = 0; i < envelope->rcpts_n; i++) {
		struct rcpt *rcpt = &message->rcpts[i];

		rcpt_init(rcpt, message, i, states ? &states[i] : NULL, now);
		if (states != NULL && states[i].outcome != SPOOL_WAITING)
			continue;
		message->live++;
		queues->rcpts_n++;
		rcpt->route = route_get(queues, envelope->rcpts[i].domain, vmta, now);
		route_use(rcpt->route);
	}
	/* Placed when all are counted: one that is given up at once must not be the message's last. */
	for (unsigned i = 0; i < envelope->rcpts_n; i++)
		if (message->rcpts[i].route != NULL)
			route_place(&message->rcpts[i], now);
	message_poll(message, now);
	message_unhold(queues, message);
}

void
queues_states(const struct queues *queues, const struct message *message, struct spool_rcpt_state *states)
{
	struct now now = loop_now(queues->o.loop);

	for (unsigned i = 0; i < message->spool.rcpts_n; i++) {
		const struct rcpt *rcpt = &message->rcpts[i];

		states[i] = (struct spool_rcpt_state){
			.outcome = rcpt->state == RCPT_OVER ? SPOOL_DELIVERED : SPOOL_WAITING, .attempts = rcpt->attempts,
		};
		if (rcpt->due.key != 0)
			states[i].due.ms = now.wall.ms + (rcpt->due.key - now.mono) / US_PER_MS;
	}
}
