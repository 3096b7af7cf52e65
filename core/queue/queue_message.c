/*
 * queue_message - messages and their jobs, from the reception until the last recipient is over.
 *
 * A message lives while a recipient of it does, or somebody holds it; a job while a
 * message of it does. What a message adds is counted before any of it is placed, since
 * placing may end a recipient at once.
 *
 * Its recipients may be several shards'. So one counter says who still needs it, the
 * last one of whatever shard ends it, and it ends where it was added: the job is counted there,
 * and the memory goes back to the thread it came from.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peers.h"
#include "queue/queue_own.h"

/* ---- messages ---- */

struct message *
message_new(unsigned rcpts_n)
{
	return mem_alloc(message_bytes(rcpts_n));
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
		job = pool_take(&queues->jobs_pool, sizeof *job + name.n + 1);
		job->queues = queues;
		if (name.n > 0)
			memcpy(job->name, name.p, name.n);
		table_put(&queues->jobs, span_text(job->name), job);
	}
	job->refs++;
	return job;
}

static void
job_unref(struct job *job)
{
	struct queues *queues = job->queues;

	if (--job->refs > 0)
		return;
	table_remove(&queues->jobs, span_text(job->name));
	pool_give(&queues->jobs_pool, job, sizeof *job + strlen(job->name) + 1);
}

static void
message_end(void *ctx)
{
	struct message *message = ctx;
	struct queues *home = message->job->queues;

	job_unref(message->job);
	pool_give(&home->messages_pool, message, message_bytes(message->rcpts_n));
}

static void
message_ref(struct message *message)
{
	atomic_fetch_add_explicit(&message->refs, 1, memory_order_relaxed);
}

void
message_unref(struct queues *queues, struct message *message)
{
	const struct queues *home = message->job->queues;
	uint32_t refs = atomic_fetch_sub_explicit(&message->refs, 1, memory_order_acq_rel);

	check(refs > 0);
	if (refs > 1)
		return;
	if (home == queues || queues->closing) {
		message_end(message);
		return;
	}
	message->end = (struct loop_call){ .fn = message_end, .ctx = message };
	peers_post(queues->o.peers, queues->o.me, home->o.me, &message->end);
}

void
message_hold(struct message *message)
{
	message_ref(message);
}

void
message_unhold(struct queues *queues, struct message *message)
{
	message_unref(queues, message);
}

static void
message_poll(const struct queues *queues, struct message *message, struct now now)
{
	struct queue *last = NULL;

	for (unsigned i = 0; i < message->spool.rcpts_n; i++) {
		struct rcpt *rcpt = &message->rcpts[i];

		if (!rcpt_is_of(rcpt, queues->o.me) || (rcpt->state != RCPT_READY && rcpt->state != RCPT_DEFERRED) ||
		    rcpt->queue == last)
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
	rcpt_tell(rcpt, state);
	if (state->due.ms != 0)
		rcpt->due.key = now.mono + (state->due.ms - now_of_due(state->due, message->received, now.wall).ms) * US_PER_MS;
}

/* To a route of ours, or to whose domain it is. */
static void
rcpt_add(struct queues *queues, struct rcpt *rcpt, struct span domain, const struct ruleset_vmta *vmta, struct now now)
{
	unsigned owner = domain_owner(queues, domain);

	if (owner != queues->o.me) {
		rcpt_send_off(queues, rcpt, owner, domain, vmta);
		return;
	}
	queues->rcpts_n++;
	rcpt->route = route_get(queues, domain, vmta, NULL, now);
	route_use(rcpt->route);
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
	message->rcpts_n = (uint16_t)envelope->rcpts_n;
	message_hold(message);
	travels_gather(queues);
	for (unsigned i = 0; i < envelope->rcpts_n; i++) {
		struct rcpt *rcpt = &message->rcpts[i];

		rcpt_init(rcpt, message, i, states ? &states[i] : NULL, now);
		atomic_init(&rcpt->shard, (uint8_t)queues->o.me);
		if (states != NULL && states[i].outcome != SPOOL_WAITING)
			continue;
		message_ref(message);
		rcpt_add(queues, rcpt, envelope->rcpts[i].domain, vmta, now);
	}
	/* Placed when all are counted: one that is given up at once must not be the message's last. */
	for (unsigned i = 0; i < envelope->rcpts_n; i++)
		if (rcpt_is_of(&message->rcpts[i], queues->o.me) && message->rcpts[i].route != NULL)
			route_place(&message->rcpts[i], now);
	travels_post(queues);
	message_poll(queues, message, now);
	message_unhold(queues, message);
}

void
message_states(const struct message *message, struct spool_rcpt_state *states)
{
	for (unsigned i = 0; i < message->spool.rcpts_n; i++)
		states[i] = rcpt_told(&message->rcpts[i]);
}
