/*
 * submit - from MAIL to the durable 250.
 *
 * The header block is held in memory until the hook has seen it (at most
 * HEAD_MAX); what follows goes to the spool as it comes. At the end the
 * policy chooses who sends, the Received field is put on top, and the message
 * is committed; the client has its answer when the sync is over.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/accept.h"
#include "delivery/outcome.h"
#include "mail/domain.h"
#include "reception/reception_own.h"
#include "smtp/smtp_path.h"

#define HEAD_MAX     (256 * 1024)
#define ARENA_KEPT   2048
#define RECEIVED_MAX 100                /* RFC 5321, 6.3: a message that came by this many hosts goes round */

static struct shard *
shard_of(const struct inbound *in)
{
	return in->port->reception->shard;
}

static void
reply(struct inbound *in, unsigned code, const char *text)
{
	smtp_server_reply(&in->server, code, text);
}

static bool
refused(struct inbound *in, const struct policy_decision *decision)
{
	if (decision->refused)
		reply(in, decision->code, decision->text);
	return decision->refused;
}

/* Trouble of ours is not the client's error. */
static void
reply_later(struct inbound *in, const char *text)
{
	smtp_server_reply_uncounted(&in->server, 452, text);
}

/* A transaction is one policy's, from its MAIL to its end. */
static void
set_policy(struct inbound *in, struct policy *policy)
{
	if (policy != NULL)
		policy_pin(policy);
	if (in->policy != NULL)
		shard_unpin(shard_of(in), in->policy);
	in->policy = policy;
}

void
submit_reset(struct inbound *in)
{
	set_policy(in, NULL);
	if (in->writer != NULL)
		spool_abort(in->writer);
	in->writer = NULL;
	in->in_data = false;
	in->head_whole = false;
	in->trouble = (struct err){ 0 };
	in->rcpts_cap = 0;
	memset(&in->envelope, 0, sizeof in->envelope);
	buf_clear(&in->head);
	arena_reset(&in->arena);
}

/* Whether a report could go there. The null sender and a bare <postmaster> have no domain to ask about. */
static bool
is_mailable(struct span sender_domain)
{
	char domain[DOMAIN_MAX];

	return sender_domain.n == 0 || domain_normalize(sender_domain, domain, NULL);
}

void
submit_mail(struct inbound *in)
{
	struct shard *shard = shard_of(in);
	const struct smtp_server *server = &in->server;
	struct policy_decision decision = { 0 };

	submit_reset(in);
	if (in->messages >= in->port->rules->max_messages_per_connection) {
		smtp_server_reply_uncounted(&in->server, 421, "4.7.0 too many messages in this session, connect again");
		return;
	}
	if (spool_refuses(shard->spool)) {
		reply_later(in, "4.3.1 insufficient system storage");
		return;
	}
	if (shard->memory_full) {
		reply_later(in, "4.3.2 the node is short of memory");
		return;
	}
	if (!is_mailable(server->sender_domain)) {
		reply(in, 553, "5.1.7 the sender's address has no domain that can be mailed");
		return;
	}
	if (policy_has_hook(shard->policy, HOOK_MAIL))
		policy_on_mail(shard->policy, &in->session, server->sender, &decision);
	if (refused(in, &decision))
		return;
	set_policy(in, shard->policy);
	in->envelope.sender = arena_span(&in->arena, server->sender);
	in->envelope.envid = arena_span(&in->arena, server->envid);
	in->envelope.ret = arena_span(&in->arena, server->ret);
	in->envelope.eightbit = server->eightbit;
	in->envelope.smtputf8 = server->smtputf8;
	reply(in, 250, "2.1.0 sender ok");
}

static bool
relays_to(const struct port *port, const char *domain)
{
	for (unsigned i = 0; i < port->rules->relay_to_n; i++)
		if (domain_pattern_matches(&port->rules->relay_to[i], span_text(domain)))
			return true;
	return false;
}

static void
add_rcpt(struct inbound *in, struct span address, const char *domain)
{
	struct envelope *envelope = &in->envelope;
	struct envelope_rcpt *rcpt;

	if (envelope->rcpts_n == in->rcpts_cap) {
		unsigned cap = in->rcpts_cap ? in->rcpts_cap * 2 : 4;
		struct envelope_rcpt *more = arena_alloc(&in->arena, cap * sizeof *more);

		if (envelope->rcpts_n > 0)
			memcpy(more, envelope->rcpts, envelope->rcpts_n * sizeof *more);
		envelope->rcpts = more;
		in->rcpts_cap = cap;
	}
	rcpt = &envelope->rcpts[envelope->rcpts_n++];
	rcpt->address = arena_span(&in->arena, address);
	rcpt->domain = arena_span(&in->arena, span_text(domain));
	rcpt->orcpt = arena_span(&in->arena, in->server.orcpt);
	rcpt->notify = in->server.notify;
}

void
submit_rcpt(struct inbound *in)
{
	struct policy_decision decision = { 0 };
	struct span address = in->server.recipient;
	char whole[SMTP_PATH_MAX + DOMAIN_MAX];
	struct span address_domain = in->server.recipient_domain;
	char domain[DOMAIN_MAX];

	/* <Postmaster>: the one address without a domain is this host's own. */
	if (address_domain.n == 0) {
		snprintf(whole, sizeof whole, "%.*s@%s", SPAN_ARG(address), in->port->hostname);
		address = span_text(whole);
		address_domain = span_text(in->port->hostname);
	}
	if (!domain_normalize(address_domain, domain, NULL)) {
		reply(in, 553, "5.1.3 the address has no domain that can be mailed");
		return;
	}
	if (!in->allowed && !relays_to(in->port, domain)) {
		reply(in, 550, "5.7.1 relaying denied");
		return;
	}
	if (in->envelope.rcpts_n >= in->port->rules->max_rcpt_per_message) {
		smtp_server_reply_uncounted(&in->server, 452, "4.5.3 too many recipients");
		return;
	}
	if (policy_has_hook(in->policy, HOOK_RCPT))
		policy_on_rcpt(in->policy, &in->session, address, &decision);
	if (refused(in, &decision))
		return;
	add_rcpt(in, address, domain);
	reply(in, 250, "2.1.5 recipient ok");
}

void
submit_data(struct inbound *in)
{
	struct err err = { 0 };

	in->writer = spool_begin(shard_of(in)->spool, &err);
	if (in->writer == NULL) {
		log_warning(shard_of(in)->log, "%s: refused: %s", in->address, err.text);
		reply_later(in, "4.3.1 insufficient system storage");
		return;
	}
	in->in_data = true;
	smtp_server_reply(&in->server, 354, "end with <CRLF>.<CRLF>");
}

static void
write_body(struct inbound *in, struct span bytes)
{
	if (in->trouble.kind == ERR_NONE && bytes.n > 0)
		spool_write(in->writer, bytes, &in->trouble);
}

static size_t
end_after(struct span head, size_t from)
{
	size_t at = span_find_text(span_from(head, from), SPAN("\r\n\r\n"));

	return at == SIZE_MAX ? SIZE_MAX : from + at + 2;
}

void
submit_body(struct inbound *in)
{
	size_t end, from;

	if (in->head_whole) {
		write_body(in, in->server.body);
		return;
	}
	/* Only what is new can hold the end, and the bytes before it that may begin it. */
	from = buf_len(&in->head) > 3 ? buf_len(&in->head) - 3 : 0;
	buf_add(&in->head, in->server.body);
	end = from == 0 ? header_block_end(buf_span(&in->head)) : end_after(buf_span(&in->head), from);
	if (end != SIZE_MAX) {
		in->head_whole = true;
		if (end == 0 && !span_starts(buf_span(&in->head), SPAN("\r")))
			write_body(in, SPAN("\r\n"));          /* no header: what it begins with is no part of our Received */
		write_body(in, span_from(buf_span(&in->head), end));
		buf_truncate(&in->head, end);
	} else if (buf_len(&in->head) > HEAD_MAX && in->trouble.kind == ERR_NONE) {
		err_set(&in->trouble, ERR_PERM, "5.3.4 the header is too large");
		buf_clear(&in->head);
		in->head_whole = true;
	}
}

/* ---- the end of a message ---- */

/* What a client called itself goes into our header: only what cannot end a comment or a line. */
static void
add_plain(struct buf *out, const char *text)
{
	size_t from = buf_len(out);

	buf_add_text(out, text);
	for (char *p = out->p + out->start + from; p < out->p + out->end; p++)
		if (*p <= ' ' || *p >= 127 || *p == '(' || *p == ')' || *p == '<' || *p == '>' || *p == '\\')
			*p = '?';
}

static void
add_texts(struct buf *out, const char *const *texts)
{
	for (; *texts != NULL; texts++)
		buf_add_text(out, *texts);
}

static void
add_received(struct inbound *in, struct now now, struct buf *out)
{
	const struct envelope *envelope = &in->envelope;
	char id[17], date[40];

	envelope_id_format(envelope->id, id);
	wall_format_mail(now.wall, date);
	buf_add_text(out, "Received: from ");
	add_plain(out, in->server.helo[0] ? in->server.helo : "unknown");
	add_texts(out, (const char *const[]){
		" ([", strchr(in->address, ':') ? "IPv6:" : "", in->address, "])\r\n\tby ", in->port->hostname, " with ",
		envelope->smtputf8 ? "UTF8SMTP" : in->server.esmtp ? "ESMTP" : "SMTP", in->server.tls ? "S" : "", " id ", id, NULL,
	});
	if (in->server.tls && in->conn != NULL && in->conn->tls_cipher != NULL)
		buf_printf(out, "\r\n\t(%s %s)", in->conn->tls_version, in->conn->tls_cipher);
	add_texts(out, (const char *const[]){ ";\r\n\t", date, "\r\n", NULL });
}

static unsigned
count_received(struct span head)
{
	struct header_field field;
	size_t at = 0;
	unsigned n = 0;

	while (header_next(head, &at, &field))
		if (span_eq_nocase(field.name, SPAN("Received")))
			n++;
	return n;
}

static void
take_choices(const struct shard_choices *choices, struct policy_message *message)
{
	span_put(span_text(choices->vmta), message->vmta, sizeof message->vmta);
	span_put(span_text(choices->pool), message->pool, sizeof message->pool);
	span_put(span_text(choices->job), message->job, sizeof message->job);
	message->priority = choices->priority;
}

/* The hook's answer, or what holds without one. False: it was refused, and answered. */
static bool
ask_policy(struct inbound *in, struct policy_message *message)
{
	struct shard *shard = shard_of(in);
	struct policy_decision decision = { 0 };
	struct span *recipients;

	message->session = &in->session;
	message->id = in->envelope.id;
	message->sender = in->envelope.sender;
	message->size_bytes = in->server.body_bytes;
	message->headers = &in->head;
	message->priority = 50;
	if (shard->choices != NULL)
		take_choices(shard->choices, message);
	if (!policy_has_hook(in->policy, HOOK_MESSAGE))
		return true;
	recipients = arena_alloc(&in->arena, in->envelope.rcpts_n * sizeof *recipients);
	for (unsigned i = 0; i < in->envelope.rcpts_n; i++)
		recipients[i] = in->envelope.rcpts[i].address;
	message->recipients = recipients;
	message->recipients_n = in->envelope.rcpts_n;
	snprintf(message->envid, sizeof message->envid, "%.*s", SPAN_ARG(in->envelope.envid));
	policy_on_message(in->policy, message, &decision);
	return !refused(in, &decision);
}

static bool
choose_sender(struct inbound *in, const struct policy_message *message)
{
	struct shard *shard = shard_of(in);
	const char *name = message->vmta[0] ? message->vmta : message->pool[0] ? message->pool : "default";
	const struct ruleset_pool *pool;
	const struct ruleset_vmta *vmta =
		ruleset_choose(policy_ruleset(shard->policy), span_text(name), &shard->prng, &pool);

	if (vmta == NULL) {
		if (message->vmta[0] || message->pool[0])
			log_warning(shard->log, "%s: refused: \"%s\", which on.message chose, has gone by a swap", in->address, name);
		else
			log_warning(shard->log, "%s: refused: on.message chose no virtual MTA or pool, and none is called \"default\"",
				    in->address);
		smtp_server_reply_uncounted(&in->server, 451, "4.3.5 no virtual MTA was chosen for this message");
		return false;
	}
	in->envelope.vmta = arena_span(&in->arena, span_text(vmta->name));
	in->envelope.pool = arena_span(&in->arena, span_text(pool != NULL ? pool->name : ""));
	in->envelope.job = arena_span(&in->arena, span_text(message->job));
	if (message->envid[0] != '\0')
		in->envelope.envid = arena_span(&in->arena, span_text(message->envid));
	in->envelope.priority = message->priority;
	return true;
}

struct commit {                         /* in the envelope's arena: outlives the session, if that goes first */
	struct inbound *in;             /* NULL: gone */
	struct shard   *shard;
	uint64_t        size_bytes;
};

/* The next transaction's memory. A session may be idle for long: not if it is much. */
static void
take_back(struct inbound *in, struct arena *arena)
{
	if (arena->bytes > ARENA_KEPT)
		return;
	arena_fini(&in->arena);
	in->arena = *arena;
	arena_init(arena);
}

static void
on_committed(void *ctx, const struct err *err, const struct envelope *envelope, struct arena *arena)
{
	struct commit *commit = ctx;
	struct inbound *in = commit->in;
	char id[17], text[64];

	if (err == NULL)
		outcome_received(commit->shard, envelope, commit->size_bytes, loop_now(commit->shard->loop));
	else
		log_error(commit->shard->log, "a message is refused: %s", err->text);
	if (in == NULL)
		return;
	in->commit = NULL;
	in->committing = false;
	take_back(in, arena);
	if (err == NULL) {
		in->messages++;
		envelope_id_format(envelope->id, id);
		span_put(span_text(id), text + span_put(SPAN("2.0.0 queued as "), text, sizeof text), sizeof id);
		reply(in, 250, text);
	} else {
		reply_later(in, "4.3.1 the message cannot be stored");
	}
	inbound_pump(in);
}

/* "client.example (192.0.2.1)" */
static struct span
source_of(struct inbound *in)
{
	struct span helo = span_text(in->server.helo), address = span_text(in->address);
	size_t size = helo.n + address.n + sizeof " ()", n;
	char *text = arena_alloc(&in->arena, size);

	n = span_put(helo, text, size);
	n += span_put(SPAN(" ("), text + n, size - n);
	n += span_put(address, text + n, size - n);
	n += span_put(SPAN(")"), text + n, size - n);
	return span_make(text, n);
}

static void
submit_commit(struct inbound *in)
{
	struct shard *shard = shard_of(in);
	struct commit *commit = arena_alloc(&in->arena, sizeof *commit);
	struct spool_writer *writer = in->writer;

	in->envelope.source_type = SPAN("smtp");
	in->envelope.source_mta = source_of(in);
	commit->in = in;
	commit->shard = shard;
	commit->size_bytes = buf_len(&in->head) + spool_written(writer);
	in->commit = commit;
	in->committing = true;
	in->writer = NULL;
	accept_message(shard->queues, writer, &in->arena, &in->envelope, buf_span(&in->head), on_committed, commit);
	memset(&in->envelope, 0, sizeof in->envelope);
	in->rcpts_cap = 0;
	in->head_whole = false;
	buf_clear(&in->head);
	set_policy(in, NULL);
}

void
submit_end(struct inbound *in)
{
	struct shard *shard = shard_of(in);
	struct now now = loop_now(shard->loop);
	struct policy_message message = { 0 };
	struct buf *received = &in->port->reception->received;

	in->in_data = false;
	if (in->trouble.kind == ERR_PERM) {
		reply(in, 552, in->trouble.text);
		goto drop;
	}
	if (in->trouble.kind == ERR_TEMP) {
		log_error(shard->log, "%s: a message is refused: %s", in->address, in->trouble.text);
		reply_later(in, "4.3.1 insufficient system storage");
		goto drop;
	}
	if (count_received(buf_span(&in->head)) > RECEIVED_MAX) {
		reply(in, 554, "5.4.6 too many hops: the message goes round");
		goto drop;
	}
	in->envelope.id = spool_next_id(shard->spool);
	in->envelope.received = now.wall;
	if (!ask_policy(in, &message) || !choose_sender(in, &message))
		goto drop;
	buf_clear(received);
	add_received(in, now, received);
	buf_splice(&in->head, 0, 0, buf_span(received));
	submit_commit(in);
	return;

drop:
	submit_reset(in);
}

void
submit_forget(struct inbound *in)
{
	if (in->commit != NULL)
		in->commit->in = NULL;
	in->commit = NULL;
	in->committing = false;
}
