/*
 * world_client - one session of the world's own client: it rests between
 * messages, and takes the next one when the injector has it.
 *
 *   dialed -> busy (EHLO) -> idle <-> busy (a message) -> lost
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "sim/world_inject_own.h"

void
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
	struct buf *out = &client->client.out;

	buf_add_text(out, "Message-ID: <");
	buf_add_u64(out, injector->world->o.seed);
	buf_add_char(out, '.');
	buf_add_u64(out, ++injector->made);
	buf_add_text(out, "@world.invalid>\r\n");
	flush(client);
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
		injector_kick(injector);
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
			injector_kick(client->injector);
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

bool
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

bool
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
