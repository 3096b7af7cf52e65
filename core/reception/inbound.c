/*
 * inbound - one session of a client: the machine's events become answers.
 *
 * While a message is being synced the client may be a little ahead with its
 * pipelined commands; when what it sends no longer fits it is not read, nor when it does not
 * take the replies, nor while its body is ahead of the disk. If it goes away meanwhile the session waits for the sync without a connection.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "reception/reception_own.h"

#define REPLIES_MAX (64 * 1024)         /* that wait for the client's socket before it is read again */
#define TELL_SCARCE_US (60 * US_PER_S)

/* ---- who may come in ---- */

static void
tell_scarce(struct reception *reception)
{
	mono_us_t now = loop_now(reception->shard->loop).mono;

	if (reception->scarce_told != 0 && now - reception->scarce_told < TELL_SCARCE_US)
		return;
	reception->scarce_told = now;
	log_warning(reception->shard->log, "descriptors are short: new sessions are refused; the limit (LimitNOFILE, ulimit -n) "
		    "is too low for max_smtp_in and max_smtp_out");
}

/* NULL: it may come in, and is counted from now on. */
static const char *
refusal(struct inbound *in)
{
	const struct port *port = in->port;
	struct crowd_limits limits = {
		.of_node = policy_ruleset(port->reception->shard->policy)->node.max_smtp_in,
		.of_door = port->rules->max_sessions, .of_client = port->rules->max_sessions_per_client,
	};

	if (port->reception->stopping)
		return "4.3.2 the node stops";
	if (in->conn->scarce) {
		tell_scarce(port->reception);
		return "4.3.2 too many sessions, try again later";
	}
	switch (crowd_enter(port->door->crowd, &in->conn->peer.ip, &limits, &in->client)) {
	case CROWD_ENTERS:
		return NULL;
	case CROWD_FULL:
		return "4.3.2 too many sessions, try again later";
	case CROWD_CLIENT_FULL:
		return "4.7.0 too many sessions from your address";
	}
	return NULL;
}

static bool
may_relay(const struct port *port, const struct ip *ip)
{
	for (unsigned i = 0; i < port->rules->relay_from_n; i++)
		if (cidr_holds(&port->rules->relay_from[i], ip))
			return true;
	return false;
}

static void
tell(struct inbound *in, enum trace_who who, struct span bytes)
{
	struct trace *trace = &in->port->reception->shard->trace;

	if (!trace_on(trace))
		return;
	trace_tell(trace, &(struct trace_session){ .number = in->number, .listener = in->port->rules->name, .peer = in->address },
		   who, bytes);
}

/* ---- the end ---- */

static struct now
now_of(const struct inbound *in)
{
	return loop_now(in->port->reception->shard->loop);
}

static void
inbound_free(struct inbound *in)
{
	struct reception *reception = in->port->reception;

	check(in->conn == NULL);
	check(!in->committing);
	submit_reset(in);
	timer_stop(&reception->shard->loop->timers, &in->timer);
	list_remove(&in->node);
	reception->sessions_n--;
	reception->shard->sessions_in--;
	in->port->sessions--;
	if (in->client != NULL)
		crowd_leave(in->port->door->crowd, in->client);
	port_maybe_bury(in->port);
	smtp_server_fini(&in->server);
	buf_fini(&in->head);
	arena_fini(&in->arena);
	free(in);
}

/* The connection goes; the session too, unless a commit or an event up the stack still needs it. */
static void
inbound_leave(struct inbound *in)
{
	if (in->conn != NULL)
		tell(in, TRACE_EVENT, SPAN("the session ends"));
	conn_close(in->conn);
	in->conn = NULL;
	timer_stop(&in->port->reception->shard->loop->timers, &in->timer);
	if (!in->committing && !in->pumping)
		inbound_free(in);
}

/* ---- events ---- */

static void
on_command(void *ctx, struct span line)
{
	tell(ctx, TRACE_THEY, line);
}

static void
tell_body(struct inbound *in)
{
	char text[64];

	if (!trace_on(&in->port->reception->shard->trace))
		return;
	snprintf(text, sizeof text, "%llu bytes of message", (unsigned long long)in->server.body_bytes);
	tell(in, TRACE_EVENT, span_text(text));
}

static void
arm(struct inbound *in)
{
	const struct ruleset_listener *rules = in->port->rules;

	timer_start(&in->port->reception->shard->loop->timers, &in->timer,
		    now_of(in).mono + (in->in_data ? rules->data_timeout : rules->command_timeout));
}

static void
flush(struct inbound *in)
{
	if (in->conn != NULL && buf_len(&in->server.out) > 0) {
		tell(in, TRACE_WE, buf_span(&in->server.out));
		conn_write(in->conn, buf_span(&in->server.out));
	}
	buf_clear(&in->server.out);
}

static void
start_tls(struct inbound *in)
{
	flush(in);
	in->in_handshake = true;
	conn_start_tls_server(in->conn, in->port->tls);
}

static bool
step(struct inbound *in)
{
	switch (smtp_server_next(&in->server)) {
	case SMTP_SERVER_WAIT:
		return false;
	case SMTP_SERVER_HELO:
		smtp_server_reply_helo(&in->server);
		return true;
	case SMTP_SERVER_START_TLS:
		start_tls(in);
		return false;
	case SMTP_SERVER_MAIL:
		submit_mail(in);
		return true;
	case SMTP_SERVER_RCPT:
		submit_rcpt(in);
		return true;
	case SMTP_SERVER_DATA:
		submit_data(in);
		return true;
	case SMTP_SERVER_BODY:
		submit_body(in);
		return true;
	case SMTP_SERVER_END:
		tell_body(in);
		submit_end(in);
		return true;
	case SMTP_SERVER_RESET:
		submit_reset(in);
		return true;
	case SMTP_SERVER_CLOSE:
		in->closing = true;
		return false;
	}
	return false;
}

static void
on_room(void *ctx)
{
	inbound_pump(ctx);
}

/* The machine buffers what comes before its answer; a read brings at most CONN_READ_MAX more. */
static void
pause_if_ahead(struct inbound *in)
{
	bool ahead;

	in->waits = in->writer != NULL && spool_writer_waits(in->writer, on_room, in);
	ahead = in->waits || smtp_server_room(&in->server) < CONN_READ_MAX || conn_pending(in->conn) > REPLIES_MAX;
	if (ahead != in->paused)
		conn_pause(in->conn, ahead);
	in->paused = ahead;
}

void
inbound_pump(struct inbound *in)
{
	bool progress = false;

	if (in->pumping)
		return;
	in->pumping = true;
	while (in->conn != NULL && !in->in_handshake && !in->closing && step(in))
		progress = true;
	if (in->port->reception->stopping && !in->closing && !in->committing && !in->in_data && !in->server.in_transaction) {
		smtp_server_end(&in->server, 421, "4.3.2 the node stops");
		in->closing = true;
	}
	flush(in);
	in->pumping = false;
	if (in->conn == NULL || in->closing) {
		inbound_leave(in);
		return;
	}
	pause_if_ahead(in);
	/* Bytes that make no command are no sign of life: only an event starts the time anew. */
	if (in->committing || in->waits)
		timer_stop(&in->port->reception->shard->loop->timers, &in->timer);
	else if (progress || !timer_started(&in->timer))
		arm(in);
}

static void
on_data(void *ctx, struct span data)
{
	struct inbound *in = ctx;

	smtp_server_feed(&in->server, data);
	inbound_pump(in);
}

static void
on_drained(void *ctx)
{
	struct inbound *in = ctx;

	if (in->paused && !in->closing)
		inbound_pump(in);
}

static void
on_tls(void *ctx, const struct err *err)
{
	struct inbound *in = ctx;

	in->in_handshake = false;
	if (err != NULL) {
		log_info(in->port->reception->shard->log, "%s: TLS failed: %s", in->address, err->text);
		inbound_leave(in);
		return;
	}
	in->session.tls = in->conn->tls_version;
	tell(in, TRACE_EVENT, span_text(in->conn->tls_version));
	smtp_server_tls_started(&in->server);
	inbound_pump(in);
}

static void
on_close(void *ctx, const struct err *err)
{
	(void)err;
	inbound_leave(ctx);
}

static void
on_timer(void *ctx, struct now now)
{
	struct inbound *in = ctx;

	(void)now;
	smtp_server_end(&in->server, 421, "4.4.2 timeout");
	in->closing = true;
	flush(in);
	inbound_leave(in);
}

static const struct conn_events events = { .on_data = on_data, .on_drained = on_drained, .on_tls = on_tls, .on_close = on_close };

/* ---- the beginning ---- */

static void
greet(struct inbound *in)
{
	struct policy *policy = in->port->reception->shard->policy;
	const char *no = refusal(in);
	struct policy_decision decision = { 0 };
	char text[300];

	if (no == NULL && policy_has_hook(policy, HOOK_CONNECT))
		policy_on_connect(policy, &in->session, &decision);
	if (no != NULL) {
		smtp_server_greet(&in->server, 421, no);
	} else if (decision.refused) {
		smtp_server_greet(&in->server, decision.code, decision.text);
	} else {
		snprintf(text, sizeof text, "%s ESMTP sluice", in->port->hostname);
		smtp_server_greet(&in->server, 220, text);
	}
}

void
inbound_accept(struct port *port, struct conn *conn)
{
	struct reception *reception = port->reception;
	struct inbound *in = mem_alloc(sizeof *in);
	struct smtp_server_config config = {
		.hostname = port->hostname, .size_max = port->rules->max_message_size,
		.errors_max = port->rules->max_errors, .starttls = port->tls != NULL,
		.require_tls = port->rules->require_tls, .on_command = on_command, .ctx = in,
	};

	in->port = port;
	in->conn = conn;
	in->number = trace_number(&reception->shard->trace);
	conn->events = &events;
	conn->ctx = in;
	ip_format(&conn->peer.ip, in->address);
	ip_format(&conn->local.ip, in->local);
	smtp_server_init(&in->server, &config);
	in->session = (struct policy_session){
		.address = in->address, .local_address = in->local, .listener = port->rules->name,
		.helo = in->server.helo,
	};
	in->allowed = may_relay(port, &conn->peer.ip);
	timer_init(&in->timer, on_timer, in);
	arena_init(&in->arena);
	buf_init(&in->head, 0);
	list_add_tail(&reception->sessions, &in->node);
	reception->sessions_n++;
	reception->shard->sessions_in++;
	port->sessions++;
	greet(in);
	inbound_pump(in);
}

void
inbound_stop(struct inbound *in)
{
	if (in->conn != NULL && !in->in_handshake)
		inbound_pump(in);
}

void
inbound_abort(struct inbound *in)
{
	submit_forget(in);
	inbound_leave(in);
}
