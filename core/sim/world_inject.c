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
 * Head and body are made once; messages differ in their Message-ID.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_own.h"

#include <inttypes.h>
#include <stdlib.h>

#define SESSIONS_MAX  20u
#define TOGETHER_MAX  20000u            /* messages of one go: an instant has a limit of turns */
#define LINE          "The quick brown fox jumps over the lazy dog; 0123456789 times, if need be.\r\n"

struct injection {
	struct list     link;
	struct injector *injector;
	struct world_injection o;
	struct arena    arena;          /* its texts */
	struct shard_choices choices;
	struct buf      head, body;     /* wire form, without Message-ID and the final dot */
	struct smtp_client_rcpt *rcpts; /* as they are asked for, to be copied */
	mono_us_t       began;
	uint64_t        due, begun, ended;
	uint64_t        accepted, refused;
	char            refusal[sizeof ((struct world_injected *)0)->refusal];
	struct sim_event next;          /* when the next one is due */
	struct world_injected *told;    /* who waits for the answers of now; NULL: nobody */
};

struct client {
	struct list      link;          /* injector's idle, or busy */
	struct injector *injector;
	struct conn     *conn;
	struct smtp_client client;
	struct smtp_client_message message;
	struct smtp_client_rcpt *rcpts;
	unsigned         rcpts_cap;
	struct buf       address;       /* a recipient that was made for this message */
	struct injection *injection;    /* whose message is on its way; NULL: none */
	uint64_t         messages;      /* that it got an answer to */
};

struct injector {
	struct world *world;
	struct list   injections;       /* in order */
	struct injection *current;
	struct list   idle, busy;       /* clients */
	unsigned      clients_n, clients_max;
	unsigned      together;         /* messages begun since somebody looked */
	uint64_t      made;             /* messages */
	struct smtp_client_config config;
	bool          kicking;
};

static void kick(struct injector *injector);

/* ---- one session ---- */

static void
client_free(struct client *client)
{
	client->injector->clients_n--;
	list_remove(&client->link);
	conn_close(client->conn);
	smtp_client_fini(&client->client);
	buf_fini(&client->address);
	free(client->rcpts);
	free(client);
}

static void
flush(struct client *client)
{
	if (buf_len(&client->client.out) > 0)
		conn_write(client->conn, buf_span(&client->client.out));
	buf_clear(&client->client.out);
}

static void
note_refusal(struct injection *injection, const char *line)
{
	if (injection->refusal[0] == '\0')
		snprintf(injection->refusal, sizeof injection->refusal, "%s", line);
	world_note(injection->injector->world, "a message is refused: %s", line);
}

/* The message is accepted if anybody of it is; the first recipient that is not says why. */
static void
end_message(struct client *client)
{
	struct injection *injection = client->injection;
	bool accepted = false;

	if (injection == NULL)
		return;
	client->injection = NULL;
	client->messages++;
	injection->ended++;
	for (unsigned i = 0; i < client->message.rcpts_n; i++) {
		const struct smtp_reply *reply = &client->rcpts[i].reply;

		if (reply->code >= 200 && reply->code < 300)
			accepted = true;
		else
			note_refusal(injection, reply->line);
	}
	if (accepted)
		injection->accepted++;
	else
		injection->refused++;
}

static void
write_message(struct client *client)
{
	struct injection *injection = client->injection;
	struct injector *injector = client->injector;
	char id[100];
	int n = snprintf(id, sizeof id, "Message-ID: <%" PRIu64 ".%" PRIu64 "@world.invalid>\r\n",
			 injector->world->o.seed, ++injector->made);

	flush(client);
	conn_write(client->conn, span_make(id, (size_t)n));
	conn_write(client->conn, buf_span(&injection->head));
	conn_write(client->conn, buf_span(&injection->body));
	smtp_client_body_sent(&client->client);
}

static void
rest(struct client *client)
{
	list_remove(&client->link);
	list_add_tail(&client->injector->idle, &client->link);
}

/* The session is over: another one takes what is left, unless this one was of no use. */
static void
client_lost(struct client *client, const char *why)
{
	struct injector *injector = client->injector;
	bool useless = client->messages == 0;
	struct injection *injection = client->injection != NULL ? client->injection : injector->current;

	if (useless && injection != NULL && client->injection == NULL && injector->clients_n == 1) {
		/* The node lets nobody in: what is due now is refused. */
		uint64_t lost = injection->due - injection->begun;

		note_refusal(injection, why);
		injection->begun += lost;
		injection->ended += lost;
		injection->refused += lost;
	}
	client_free(client);
	if (useless)
		injector->clients_max = injector->clients_n > 0 ? injector->clients_n : 1;
	if (!useless || injector->clients_n == 0)
		kick(injector);
}

static void
drive(struct client *client)
{
	for (;;) {
		switch (smtp_client_next(&client->client)) {
		case SMTP_CLIENT_WAIT:
			flush(client);
			return;
		case SMTP_CLIENT_READY:
			flush(client);
			rest(client);
			kick(client->injector);
			return;
		case SMTP_CLIENT_BODY:
			write_message(client);
			break;
		case SMTP_CLIENT_DONE:
			end_message(client);
			break;
		case SMTP_CLIENT_FAILED:
		case SMTP_CLIENT_CLOSED:
		case SMTP_CLIENT_START_TLS:     /* not asked for */
			flush(client);
			client_lost(client, client->client.reply.line);
			return;
		}
	}
}

static void
on_open(void *ctx)
{
	(void)ctx;
}

static void
on_data(void *ctx, struct span data)
{
	struct client *client = ctx;

	smtp_client_feed(&client->client, data);
	drive(client);
}

static void
on_close(void *ctx, const struct err *err)
{
	struct client *client = ctx;
	struct smtp_reply reply;

	if (client->injection != NULL) {
		smtp_reply_make(&reply, 400, "4.4.2", err != NULL ? err->text : "the node closed the connection");
		smtp_client_broken(&client->client, &reply);
		end_message(client);
	}
	client_lost(client, err != NULL ? err->text : "the node closed the connection");
}

static const struct conn_events events = { .on_open = on_open, .on_data = on_data, .on_close = on_close };

static bool
client_open(struct injector *injector)
{
	struct world *world = injector->world;
	struct client *client = mem_alloc(sizeof *client);
	static const struct ip from = { IP_V4, { 127, 0, 0, 1 } };

	client->injector = injector;
	client->conn = net_dial(world->outside, &from, &world->listener.at, &events, client, NULL);
	if (client->conn == NULL) {
		free(client);
		return false;
	}
	smtp_client_init(&client->client, &injector->config);
	buf_init(&client->address, 0);
	list_init(&client->link);
	list_add_tail(&injector->busy, &client->link);
	injector->clients_n++;
	return true;
}

/* ---- a message ---- */

static void
fill_rcpts(struct client *client, const struct injection *injection)
{
	unsigned n = injection->o.to_n > 0 ? injection->o.to_n : 1;

	if (n > client->rcpts_cap) {
		client->rcpts = mem_grow(client->rcpts, n * sizeof *client->rcpts);
		client->rcpts_cap = n;
	}
	for (unsigned i = 0; i < n; i++) {
		/* Its reply is written before it is read. */
		client->rcpts[i].address = injection->o.to_n > 0 ? span_text(injection->o.to[i]) : buf_span(&client->address);
		client->rcpts[i].orcpt = SPAN("");
		client->rcpts[i].notify = 0;
		client->rcpts[i].answered = client->rcpts[i].accepted = false;
	}
}

/* False: the function that names recipients failed; the injection is over. */
static bool
client_send(struct client *client, struct injection *injection)
{
	uint64_t i = ++injection->begun;

	if (injection->o.to_n == 0) {
		const char *to = injection->o.to_of(injection->o.ctx, i);

		if (to == NULL) {
			injection->due = injection->o.count = --injection->begun;
			return false;
		}
		buf_clear(&client->address);
		buf_add_text(&client->address, to);
	}
	list_remove(&client->link);
	list_add_tail(&client->injector->busy, &client->link);
	fill_rcpts(client, injection);
	client->injection = injection;
	client->message = (struct smtp_client_message){
		.sender = span_text(injection->o.from),
		.size_bytes = buf_len(&injection->head) + buf_len(&injection->body),
		.rcpts = client->rcpts, .rcpts_n = injection->o.to_n > 0 ? injection->o.to_n : 1,
	};
	smtp_client_send(&client->client, &client->message);
	drive(client);
	return true;
}

/* ---- the line ---- */

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
	injector->world->shard->choices = &injection->choices;
	while (injection->begun < injection->due && injector->together < TOGETHER_MAX && !list_empty(&injector->idle)) {
		injector->together++;
		if (!client_send(list_first(&injector->idle, struct client, link), injection))
			return;
	}
	wanted = (uint64_t)min_i64((int64_t)wanted, injector->clients_max);
	while (injection->begun < injection->due && injector->clients_n < wanted && client_open(injector))
		;
}

static void
kick(struct injector *injector)
{
	struct injection *injection;

	/* What it does may come back here: the outer one goes on. */
	if (injector->kicking || injector->world->shard == NULL || injector->world->failed)
		return;
	injector->kicking = true;
	while ((injection = pick(injector)) != NULL) {
		uint64_t begun = injection->begun;

		serve(injector, injection);
		if (injector->current == injection && injection->begun == begun)
			break;
	}
	injector->kicking = false;
	if (injection == NULL && injector->world->shard != NULL)
		injector->world->shard->choices = NULL;
}

/* ---- when the next one is due ---- */

static mono_us_t
due_at(const struct injection *injection, uint64_t i)
{
	return injection->began + (mono_us_t)((__int128)injection->o.over_us * (__int128)i / (__int128)injection->o.count);
}

static void
on_due(void *ctx)
{
	struct injection *injection = ctx;
	struct injector *injector = injection->injector;
	mono_us_t now = loop_now(injector->world->loop).mono;

	while (injection->due < injection->o.count && due_at(injection, injection->due) <= now)
		injection->due++;
	if (injection->due < injection->o.count)
		loop_sim_at(injector->world->loop, &injection->next, due_at(injection, injection->due));
	injector->together = 0;
	kick(injector);
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

void
injector_node_is_up(struct injector *injector)
{
	injector->together = 0;
	injector->clients_max = SESSIONS_MAX;
	kick(injector);
}

bool
injector_is_idle(const struct injector *injector)
{
	return list_empty(&injector->injections);
}

static bool
is_declared(struct world *world, const struct world_injection *o, struct err *err)
{
	const struct ruleset *ruleset = world->shard->queues->o.ruleset;

	if (o->vmta != NULL && ruleset_vmta(ruleset, span_text(o->vmta)) == NULL)
		return err_set(err, ERR_PERM, "vmta: %s declares no virtual MTA \"%s\"", world->policy, o->vmta);
	if (o->pool != NULL && ruleset_pool(ruleset, span_text(o->pool)) == NULL &&
	    ruleset_vmta(ruleset, span_text(o->pool)) == NULL)
		return err_set(err, ERR_PERM, "pool: %s declares no pool \"%s\"", world->policy, o->pool);
	return true;
}

/* Instants go on by themselves; this one is over when nothing is due at it any more. */
bool
world_inject(struct world *world, const struct world_injection *o, struct world_injected *out, struct err *err)
{
	mono_us_t now = loop_now(world->loop).mono;
	struct injector *injector = world->injector;
	struct injection *injection;

	*out = (struct world_injected){ 0 };
	if (!world_ok(world, err) ||
	    (world->shard == NULL && !err_set(err, ERR_PERM, "the node is down: restart() it first")) ||
	    !is_declared(world, o, err)) {
		if (o->free_ctx != NULL)
			o->free_ctx(o->ctx);
		return false;
	}
	injection = injection_new(injector, o);
	injection->told = out;
	on_due(injection);
	do {
		injector->together = 0;
		kick(injector);
		while (world_turn(world, now))
			;
	} while (!world->failed && injector->together > 0);
	list_each(node, &injector->injections) {
		injection = list_entry(node, struct injection, link);
		tell(injection);
		if (injection->told == out)
			injection->told = NULL;
	}
	return world_ok(world, err);
}
