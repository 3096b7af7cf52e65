/*
 * world_inject - the world's own client: messages by real SMTP to the node's
 * real listener, over a link that takes no time.
 *
 * Injections stand in line, and the first that has something to send now is
 * served until it has its answers: what on.message finds chosen is the
 * injection's, so two never have messages on the way at once. A few sessions
 * share it, since the node gathers what several wait for into one sync. A
 * session stays for the next injection; one that the node ends is opened again.
 *
 * While the node is down, what is due waits, as a client would.
 *
 * Head and body are made once; messages differ in their Message-ID. One session is
 * world_client.c's business.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_inject_own.h"

#include <stdlib.h>

#define SESSIONS_MAX  20u
#define TOGETHER_MAX  20000u            /* messages of one go: an instant has a limit of turns */
#define LINE          "The quick brown fox jumps over the lazy dog; 0123456789 times, if need be.\r\n"

/* ---- the line ---- */

/* Whichever shard a session is on. */
static void
choose(struct world *world, const struct shard_choices *choices)
{
	for (unsigned i = 0; i < world->shards->n; i++)
		world->shards->all[i]->choices = choices;
}

static void
injection_free(struct injection *injection)
{
	struct injector *injector = injection->injector;

	if (injector->current == injection)
		injector->current = NULL;
	if (injection->o.free_ctx != NULL)
		injection->o.free_ctx(injection->o.ctx);
	loop_sim_cancel(injector->world->loop, &injection->next);
	list_remove(&injection->link);
	buf_fini(&injection->head);
	buf_fini(&injection->body);
	arena_fini(&injection->arena);
	free(injection);
}

static void
tell(const struct injection *injection)
{
	if (injection->told == NULL)
		return;
	injection->told->accepted = injection->accepted;
	injection->told->refused = injection->refused;
	snprintf(injection->told->refusal, sizeof injection->told->refusal, "%s", injection->refusal);
}

/* The one to serve: the current one while it has answers to come, else the first with something due. */
static struct injection *
pick(struct injector *injector)
{
	struct injection *current = injector->current;

	if (current != NULL && current->ended < current->due)
		return current;
	if (current != NULL) {
		injector->current = NULL;
		tell(current);
		if (current->ended >= current->o.count)
			injection_free(current);
	}
	list_each(node, &injector->injections) {
		struct injection *injection = list_entry(node, struct injection, link);

		if (injection->begun < injection->due)
			return injection;
	}
	return NULL;
}

static void
serve(struct injector *injector, struct injection *injection)
{
	uint64_t wanted = injection->due - injection->begun;

	injector->current = injection;
	choose(injector->world, &injection->choices);
	while (injection->begun < injection->due && injector->together < TOGETHER_MAX && !list_empty(&injector->idle)) {
		injector->together++;
		injector->world->turns++;               /* it takes as long as one */
		if (!client_send(list_first(&injector->idle, struct client, link), injection))
			return;
	}
	wanted = (uint64_t)min_i64((int64_t)wanted, injector->clients_max);
	while (injection->begun < injection->due && injector->clients_n < wanted && client_open(injector))
		;
}

void
injector_kick(struct injector *injector)
{
	struct injection *injection;

	/* What it does may come back here: the outer one goes on. */
	if (injector->kicking || injector->world->shards == NULL || injector->world->failed)
		return;
	injector->kicking = true;
	while ((injection = pick(injector)) != NULL) {
		uint64_t begun = injection->begun;

		serve(injector, injection);
		if (injector->current == injection && injection->begun == begun)
			break;
	}
	injector->kicking = false;
	if (injection == NULL && injector->world->shards != NULL)
		choose(injector->world, NULL);
}

/* ---- when the next one is due ---- */

static mono_us_t
due_at(const struct injection *injection, uint64_t i)
{
	return injection->began + (mono_us_t)((__int128)injection->o.over_us * (__int128)i / (__int128)injection->o.count);
}

/* How many are, at an instant: as many as there are i below the count with due_at(i) <= now. */
static uint64_t
due_by(const struct injection *injection, mono_us_t now)
{
	__int128 count = (__int128)injection->o.count, over = injection->o.over_us, n;

	if (over == 0)
		return injection->o.count;
	n = ((__int128)(now - injection->began + 1) * count + over - 1) / over;
	return n < count ? (uint64_t)n : injection->o.count;
}

static void
on_due(void *ctx)
{
	struct injection *injection = ctx;
	struct injector *injector = injection->injector;
	mono_us_t now = loop_now(injector->world->loop).mono;

	/* Its function may have cut the count short meanwhile. */
	if (injection->due < injection->o.count)
		injection->due = due_by(injection, now);
	if (injection->due < injection->o.count)
		loop_sim_at(injector->world->loop, &injection->next, due_at(injection, injection->due));
	injector->together = 0;
	injector_kick(injector);
}

/* ---- making one ---- */

static void
compose(struct injection *injection)
{
	const struct world_injection *o = &injection->o;
	char date[40];
	size_t have;

	wall_format_mail(loop_now(injection->injector->world->loop).wall, date);
	buf_printf(&injection->head, "Date: %s\r\nFrom: <%s>\r\nSubject: a message of the world\r\n", date,
		   *o->from != '\0' ? o->from : "postmaster@world.invalid");
	for (unsigned i = 0; i < o->headers_n; i++)
		buf_printf(&injection->head, "%s: %s\r\n", o->headers[i].name, o->headers[i].value);
	buf_add_text(&injection->head, "\r\n");
	have = buf_len(&injection->head);
	while (have + sizeof LINE - 1 <= o->size_bytes) {
		buf_add_text(&injection->body, LINE);
		have += sizeof LINE - 1;
	}
	if (have + 2 < o->size_bytes)
		buf_add(&injection->body, span_make(LINE, o->size_bytes - have - 2));
	if (buf_len(&injection->body) == 0 || have < o->size_bytes)
		buf_add_text(&injection->body, "\r\n");
}

static const char *
copied(struct arena *arena, const char *text)
{
	return text != NULL ? arena_strdup(arena, text) : NULL;
}

static struct injection *
injection_new(struct injector *injector, const struct world_injection *o)
{
	struct injection *injection = mem_alloc(sizeof *injection);
	struct arena *arena = &injection->arena;
	const char **to;

	arena_init(arena);
	injection->injector = injector;
	injection->o = *o;
	injection->o.from = copied(arena, o->from != NULL ? o->from : "sender@example.com");
	injection->choices = (struct shard_choices){
		copied(arena, o->vmta), copied(arena, o->pool), copied(arena, o->job), o->priority,
	};
	if (o->to_n > 0) {
		to = arena_alloc(arena, o->to_n * sizeof *to);
		for (unsigned i = 0; i < o->to_n; i++)
			to[i] = copied(arena, o->to[i]);
		injection->o.to = to;
	}
	buf_init(&injection->head, 0);
	buf_init(&injection->body, 0);
	injection->began = loop_now(injector->world->loop).mono;
	injection->next = (struct sim_event){ .fn = on_due, .ctx = injection };
	compose(injection);
	injection->o.headers = NULL;
	list_add_tail(&injector->injections, &injection->link);
	return injection;
}

/* ---- the world's side ---- */

struct injector *
injector_new(struct world *world)
{
	struct injector *injector = mem_alloc(sizeof *injector);

	injector->world = world;
	injector->clients_max = SESSIONS_MAX;
	injector->config = (struct smtp_client_config){ .helo = "client.world.invalid" };
	list_init(&injector->injections);
	list_init(&injector->idle);
	list_init(&injector->busy);
	return injector;
}

void
injector_free(struct injector *injector)
{
	if (injector == NULL)
		return;
	while (!list_empty(&injector->idle))
		client_free(list_first(&injector->idle, struct client, link));
	while (!list_empty(&injector->busy))
		client_free(list_first(&injector->busy, struct client, link));
	while (!list_empty(&injector->injections))
		injection_free(list_first(&injector->injections, struct injection, link));
	free(injector);
}

/* Idle sessions are the last life's: what is still to come of them is its goodbye, which answers no message. */
void
injector_node_is_up(struct injector *injector)
{
	while (!list_empty(&injector->idle))
		client_free(list_first(&injector->idle, struct client, link));
	injector->together = 0;
	injector->clients_max = SESSIONS_MAX;
	injector_kick(injector);
}

bool
injector_is_idle(const struct injector *injector)
{
	return list_empty(&injector->injections);
}

static bool
is_declared(struct world *world, const struct world_injection *o, struct err *err)
{
	const struct ruleset *ruleset = policy_ruleset(world_shard(world)->policy);

	if (o->vmta != NULL && ruleset_vmta(ruleset, span_text(o->vmta)) == NULL)
		return err_set(err, ERR_PERM, "vmta: %s declares no virtual MTA \"%s\"", world->policy, o->vmta);
	if (o->pool != NULL && ruleset_pool(ruleset, span_text(o->pool)) == NULL &&
	    ruleset_vmta(ruleset, span_text(o->pool)) == NULL)
		return err_set(err, ERR_PERM, "pool: %s declares no pool \"%s\"", world->policy, o->pool);
	return true;
}

static bool
may_inject(struct world *world, const struct world_injection *o, struct err *err)
{
	if (!world_ok(world, err))
		return false;
	if (world->shards == NULL)
		return err_set(err, ERR_PERM, "the node is down: restart() it first");
	return is_declared(world, o, err);
}

/* Instants go on by themselves; this one is over when nothing is due at it any more. */
bool
world_inject(struct world *world, const struct world_injection *o, struct world_injected *out, struct err *err)
{
	mono_us_t now = loop_now(world->loop).mono;
	struct injector *injector = world->injector;
	struct injection *injection;

	*out = (struct world_injected){ 0 };
	if (!may_inject(world, o, err)) {
		if (o->free_ctx != NULL)
			o->free_ctx(o->ctx);
		return false;
	}
	injection = injection_new(injector, o);
	injection->told = out;
	on_due(injection);
	do {
		injector->together = 0;
		injector_kick(injector);
		while (world_turn(world, now))
			;
		world_look_at_the_time(world);
	} while (!world->failed && injector->together > 0);
	list_each(node, &injector->injections) {
		injection = list_entry(node, struct injection, link);
		tell(injection);
		if (injection->told == out)
			injection->told = NULL;
	}
	return world_ok(world, err);
}
