/*
 * recovery - the spool is opened by the first shard and joined by the others;
 * then the saved limits are read, and only then the mail is queued: what it
 * finds closed it must find closed.
 *
 * A record that makes no sense as an envelope is the spool's to set aside, like any other
 * damage; mail of a virtual MTA that the policy has forgotten is the operator's.
 *
 * Messages are dealt to the shards in turn, so that each has its share of them to
 * keep. Their recipients go where they belong as mail does while the node runs; it
 * is delivered here, in between, because nobody else would.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "recovery.h"

#include "state.h"

#define DEALT_AT_ONCE 256               /* messages, before their mail is delivered */

struct found {                          /* a message of the last run, until the queues have it */
	struct found   *next;
	struct message *message;
	struct span     meta;
	struct spool_rcpt_state *states;
};

struct finding {
	struct arena  arena, scratch;
	struct found *found, **last;
	struct err    refusal;          /* of the first that the policy has no place for */
};

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *recovered)
{
	struct shards *shards = ctx;
	struct finding *finding = shards->finding;
	const struct ruleset *ruleset = policy_ruleset(shards->all[0]->policy);
	struct envelope envelope;
	struct found *found;

	check(finding != NULL);
	arena_reset(&finding->scratch);
	if (!envelope_decode(recovered->meta, &finding->scratch, &envelope, NULL) || envelope.rcpts_n != recovered->rcpts_n)
		return NULL;
	if (ruleset_vmta(ruleset, envelope.vmta) == NULL && !finding->refusal.kind)
		err_set(&finding->refusal, ERR_PERM, "the spool holds mail of the virtual MTA \"%.*s\", which %s does not declare",
			SPAN_ARG(envelope.vmta), ruleset->file);
	found = arena_alloc(&finding->arena, sizeof *found);
	found->message = message_new(recovered->rcpts_n);
	found->meta = arena_span(&finding->arena, recovered->meta);
	found->states = arena_alloc(&finding->arena, recovered->rcpts_n * sizeof *found->states);
	memcpy(found->states, recovered->rcpts, recovered->rcpts_n * sizeof *found->states);
	*finding->last = found;
	finding->last = &found->next;
	return &found->message->spool;
}

static void
on_states(void *ctx, const struct spool_message *spooled, struct spool_rcpt_state *states)
{
	message_states(container_of(spooled, struct message, spool), states);
}

static void
requeue_one(struct shard *shard, struct found *found, struct arena *arena)
{
	struct envelope envelope;

	arena_reset(arena);
	check(envelope_decode(found->meta, arena, &envelope, NULL));    /* on_recovered() took no other */
	queues_add(shard->queues, found->message, &envelope, found->states, loop_now(shard->loop));
	found->message = NULL;
}

static void
deliver_mail(struct shards *shards)
{
	shards_halt(shards);
	shards_resume(shards);
}

/* Puts what was found into the queues. */
static void
requeue(struct shards *shards, struct finding *finding)
{
	uint64_t n = 0;

	for (struct found *found = finding->found; found != NULL; found = found->next) {
		requeue_one(shards->all[n % shards->n], found, &finding->scratch);
		if (++n % DEALT_AT_ONCE == 0)
			deliver_mail(shards);
	}
	deliver_mail(shards);
	if (n > 0)
		log_info(shards->all[0]->log, "%llu messages of the last run are queued again", (unsigned long long)n);
}

static void
finding_fini(struct finding *finding)
{
	for (struct found *found = finding->found; found != NULL; found = found->next)
		if (found->message != NULL)
			message_free(found->message);
	arena_fini(&finding->arena);
	arena_fini(&finding->scratch);
}

static void
take_spool(struct shard *shard, struct spool *spool)
{
	shard->spool = spool;
	shard->queues->o.spool = spool;
}

static bool
open_spool(struct shards *shards, struct finding *finding, struct err *err)
{
	struct shard *first = shards->all[0];
	struct spool_options options = { .min_free_space = first->settings.min_free_space, .log = first->log };
	struct spool_owner owner = { on_recovered, on_states, shards };

	shards->finding = finding;
	take_spool(first, spool_open(first->disk, first->worker, first->loop, &options, &owner, err));
	shards->finding = NULL;
	for (unsigned i = 1; first->spool != NULL && i < shards->n; i++)
		take_spool(shards->all[i], spool_join(first->spool, shards->all[i]->loop));
	if (first->spool == NULL || !finding->refusal.kind)
		return first->spool != NULL;
	if (err != NULL)
		*err = finding->refusal;
	return false;
}

void
recovery_close_spool(struct shards *shards)
{
	for (unsigned i = shards->n; i-- > 0;) {
		struct spool *spool = shards->all[i]->spool;

		if (spool != NULL)
			spool_close(spool);
		take_spool(shards->all[i], NULL);
	}
}

bool
recovery_run(struct shards *shards, struct err *err)
{
	struct finding finding = { .last = &finding.found };
	bool ok;

	arena_init(&finding.arena);
	arena_init(&finding.scratch);
	/* What may refuse comes before the saved limits are touched: a damaged file of them is set aside only once. */
	ok = open_spool(shards, &finding, err) && state_load(shards, err);
	if (ok)
		requeue(shards, &finding);
	/* What was found and not queued is the spool's until that is closed. */
	if (!ok)
		recovery_close_spool(shards);
	finding_fini(&finding);
	return ok;
}
