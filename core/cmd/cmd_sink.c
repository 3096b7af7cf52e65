/*
 * `sink`: a receiver that takes everything, or answers as a script tells, and
 * says what it saw when it stops.
 *
 * It measures senders, so it must not be what is measured: one thread, nothing
 * allocated for a message, bodies counted and dropped where they were read.
 * It speaks by the same machine as the node's reception.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <signal.h>

#include "cmd/cmd.h"
#include "cmd/cmd_print.h"
#include "net/conn.h"
#include "sim/peak.h"
#include "sim/sink_script.h"
#include "smtp/smtp_server.h"
#include "util/list.h"

#define GRACE_US (2 * US_PER_S)         /* for clients that are still there after the last message */

static const mono_us_t windows_us[] = { US_PER_S, 60 * US_PER_S, 3600 * US_PER_S };
static const char *const window_names[countof(windows_us)] = { "1s", "1m", "1h" };

struct sink {
	struct loop        *loop;
	struct net         *net;
	struct listener    *listener;
	struct sink_script *script;
	struct smtp_server_config config;
	struct list         sessions;
	struct timer        grace;
	mono_us_t           began;
	uint64_t            messages_max;       /* 0: no end */
	/* what it saw */
	uint64_t            connections, messages, recipients, bytes, refusals;
	uint32_t            open, peak_open;
	mono_us_t           first_at, last_at;  /* the first connection, the last message */
	struct peak         rate;               /* of recipients, as they are accepted */
};

struct sink_session {
	struct list        link;
	struct sink       *sink;
	struct conn       *conn;
	struct smtp_server server;
	char               source[IP_TEXT_MAX];
};

static void
session_free(struct sink_session *session)
{
	struct sink *sink = session->sink;

	list_remove(&session->link);
	conn_close(session->conn);
	smtp_server_fini(&session->server);
	free(session);
	sink->open--;
	if (!sink->listener && list_empty(&sink->sessions))
		loop_stop(sink->loop);
}

static bool
is_finished(const struct sink *sink)
{
	return sink->messages_max && sink->messages >= sink->messages_max;
}

/* Who is in a session says QUIT in peace; nobody new is let in. */
static void
finish(struct sink *sink)
{
	if (!sink->listener)
		return;
	listener_close(sink->net, sink->listener);
	sink->listener = NULL;
	timer_start(&sink->loop->timers, &sink->grace, loop_now(sink->loop).mono + GRACE_US);
}

static void
on_grace(void *ctx, struct now now)
{
	struct sink *sink = ctx;

	loop_stop(sink->loop);
}

/* False: the script has no opinion. */
static bool
scripted(struct sink_session *session, enum sink_stage stage, const char *prefix, struct span argument, struct smtp_reply *out)
{
	struct sink *sink = session->sink;
	char line[SMTP_SERVER_LINE_MAX];
	struct sink_event event = { .stage = stage, .source = session->source };
	struct err err = { 0 };
	bool path = stage == SINK_MAIL || stage == SINK_RCPT;

	if (!sink_script_has(sink->script, stage))
		return false;
	snprintf(line, sizeof(line), "%s%s%.*s%s", prefix, path ? "<" : "", SPAN_ARG(argument), path ? ">" : "");
	event.line = span_text(line);
	event.at_s = (double)(loop_now(sink->loop).mono - sink->began) / (double)US_PER_S;
	if (!sink_script_answer(sink->script, &event, out, &err))
		return false;
	if (err.kind != ERR_NONE)
		cmd_failed("%s", err.text);
	return true;
}

/* What stands behind the code: "4.2.1 busy". */
static const char *
reply_text(const struct smtp_reply *reply)
{
	return reply->line[3] ? reply->line + 4 : "";
}

/* Whether the command was accepted. */
static bool
answer(struct sink_session *session, enum sink_stage stage, const char *prefix, struct span argument,
       unsigned code, const char *text)
{
	struct smtp_reply reply;

	if (!scripted(session, stage, prefix, argument, &reply)) {
		smtp_server_reply(&session->server, code, text);
		return true;
	}
	smtp_server_reply(&session->server, reply.code, reply_text(&reply));
	session->sink->refusals += reply.code >= 400;
	return reply.code < 400;
}

static void
on_helo(struct sink_session *session)
{
	struct smtp_reply reply;
	const char *verb = session->server.esmtp ? "EHLO " : "HELO ";

	if (scripted(session, SINK_EHLO, verb, span_text(session->server.helo), &reply) && reply.code >= 400)
		smtp_server_reply(&session->server, reply.code, reply_text(&reply));
	else
		smtp_server_reply_helo(&session->server);
}

static void
on_rcpt(struct sink_session *session)
{
	struct sink *sink = session->sink;

	if (!answer(session, SINK_RCPT, "RCPT TO:", session->server.recipient, 250, "2.1.5 OK"))
		return;
	sink->recipients++;
	peak_add(&sink->rate, loop_now(sink->loop).mono);
}

static void
on_end(struct sink_session *session)
{
	struct sink *sink = session->sink;
	uint64_t bytes = session->server.body_bytes;

	if (!answer(session, SINK_END, ".", SPAN(""), 250, "2.0.0 OK"))
		return;
	sink->messages++;
	sink->last_at = loop_now(sink->loop).mono;
	sink->bytes += bytes;
	if (is_finished(sink))
		finish(sink);
}

static void
flush(struct sink_session *session)
{
	conn_write(session->conn, buf_span(&session->server.out));
	buf_clear(&session->server.out);
}

/* Does what the machine asks; false: the session is over, and freed. */
static bool
drive(struct sink_session *session)
{
	struct smtp_server *server = &session->server;

	for (;;) {
		switch (smtp_server_next(server)) {
		case SMTP_SERVER_WAIT:
			flush(session);
			return true;
		case SMTP_SERVER_CLOSE:
			flush(session);
			session_free(session);
			return false;
		case SMTP_SERVER_HELO:
			on_helo(session);
			break;
		case SMTP_SERVER_MAIL:
			if (is_finished(session->sink))
				smtp_server_reply(server, 421, "4.3.2 Enough");
			else
				answer(session, SINK_MAIL, "MAIL FROM:", server->sender, 250, "2.1.0 OK");
			break;
		case SMTP_SERVER_RCPT:
			on_rcpt(session);
			break;
		case SMTP_SERVER_DATA:
			answer(session, SINK_DATA, "DATA", SPAN(""), 354, "Go");
			break;
		case SMTP_SERVER_END:
			on_end(session);
			break;
		case SMTP_SERVER_BODY:
		case SMTP_SERVER_RESET:
		case SMTP_SERVER_START_TLS:
			break;
		}
	}
}

static void
on_data(void *ctx, struct span data)
{
	struct sink_session *session = ctx;

	while (data.n > 0) {
		size_t room = smtp_server_room(&session->server);
		struct span piece = span_first(data, data.n < room ? data.n : room);

		smtp_server_feed(&session->server, piece);
		data = span_from(data, piece.n);
		if (!drive(session))
			return;
	}
}

static void
on_close(void *ctx, const struct err *err)
{
	session_free(ctx);
}

static const struct conn_events events = { .on_data = on_data, .on_close = on_close };

static void
on_accept(void *ctx, struct conn *conn)
{
	struct sink *sink = ctx;
	struct sink_session *session = mem_alloc(sizeof(*session));
	struct smtp_reply reply;

	session->sink = sink;
	session->conn = conn;
	conn->events = &events;
	conn->ctx = session;
	ip_format(&conn->peer.ip, session->source);
	list_init(&session->link);
	list_add_tail(&sink->sessions, &session->link);
	smtp_server_init(&session->server, &sink->config);
	if (sink->connections++ == 0)
		sink->first_at = sink->last_at = loop_now(sink->loop).mono;
	sink->open++;
	if (sink->open > sink->peak_open)
		sink->peak_open = sink->open;

	if (scripted(session, SINK_CONNECT, "", SPAN(""), &reply)) {
		smtp_server_greet(&session->server, reply.code, reply_text(&reply));
		sink->refusals += reply.code >= 400;
	} else {
		smtp_server_greet(&session->server, 220, "sink.invalid ESMTP");
	}
	drive(session);
}

static void
on_signal(void *ctx, int signum)
{
	struct sink *sink = ctx;

	loop_stop(sink->loop);
}

static void
report_json(const struct sink *sink)
{
	json_t *rates = json_object();
	json_t *value;

	for (unsigned i = 0; i < countof(windows_us); i++)
		json_object_set_new(rates, window_names[i], json_integer(peak_most(&sink->rate, i)));
	value = json_pack("{s:I, s:i, s:I, s:I, s:I, s:I, s:f, s:o}",
			  "connections", (json_int_t)sink->connections, "peak_connections", (int)sink->peak_open,
			  "messages", (json_int_t)sink->messages, "recipients", (json_int_t)sink->recipients,
			  "bytes", (json_int_t)sink->bytes, "refusals", (json_int_t)sink->refusals,
			  "seconds", (double)(sink->last_at - sink->first_at) / (double)US_PER_S, "peak_rate", rates);
	cmd_print_json(value);
	json_decref(value);
}

static void
report_text(const struct sink *sink)
{
	printf("connections  %" PRIu64 ", at most %" PRIu32 " at once\n", sink->connections, sink->peak_open);
	printf("messages     %" PRIu64 ", %" PRIu64 " recipients, %" PRIu64 " bytes\n",
	       sink->messages, sink->recipients, sink->bytes);
	printf("time         %.3f s from the first connection to the last message\n",
	       (double)(sink->last_at - sink->first_at) / (double)US_PER_S);
	if (sink->refusals)
		printf("refusals     %" PRIu64 "\n", sink->refusals);
	printf("at most     ");
	for (unsigned i = 0; i < countof(windows_us); i++)
		printf(" %" PRIu32 " recipients in any %s%s", peak_most(&sink->rate, i), window_names[i],
		       i + 1 < countof(windows_us) ? "," : "");
	printf("%s\n", peak_saturated(&sink->rate) ? " (or more: too many to remember)" : "");
}

static bool
open_sink(struct sink *sink, const struct endpoint *at, struct err *err)
{
	char text[ENDPOINT_TEXT_MAX];

	sink->loop = loop_os_new(err);
	sink->net = sink->loop ? net_os_new(sink->loop, err) : NULL;
	if (!sink->net)
		return false;
	sink->listener = net_listen(sink->net, at, on_accept, sink, err);
	if (!sink->listener)
		return false;
	sink->began = clock_mono(&sink->loop->clock);
	timer_init(&sink->grace, on_grace, sink);
	loop_os_on_signal(sink->loop, SIGTERM, on_signal, sink);
	loop_os_on_signal(sink->loop, SIGINT, on_signal, sink);
	endpoint_format(&sink->listener->at, text);
	fprintf(stderr, "listening on %s\n", text);
	return true;
}

static void
close_sink(struct sink *sink)
{
	while (!list_empty(&sink->sessions))
		session_free(list_first(&sink->sessions, struct sink_session, link));
	if (sink->loop && timer_started(&sink->grace))
		timer_stop(&sink->loop->timers, &sink->grace);
	if (sink->net)
		listener_close(sink->net, sink->listener);
	net_os_free(sink->net);
	loop_os_free(sink->loop);
	sink_script_free(sink->script);
	peak_fini(&sink->rate);
}

enum { OPTION_LISTEN, OPTION_SCRIPT, OPTION_COUNT, OPTION_JSON };

static int
run(int argc, char **argv)
{
	struct cmd_option options[] = {
		[OPTION_LISTEN] = { "listen", true, NULL }, [OPTION_SCRIPT] = { "script", true, NULL },
		[OPTION_COUNT] = { "count", true, NULL },   [OPTION_JSON] = { "json", false, NULL },
	};
	struct sink sink = { .config = { .hostname = "sink.invalid" } };
	struct endpoint at;
	struct err err = { 0 };
	int status;

	if (!cmd_parse(&cmd_sink, options, countof(options), &argc, argv, &status))
		return status;
	if (argc > 1)
		return cmd_misused(&cmd_sink, "sink takes no argument: %s", argv[1]);
	if (options[OPTION_COUNT].value &&
	    (!span_u64(span_text(options[OPTION_COUNT].value), INT64_MAX, &sink.messages_max) || sink.messages_max == 0))
		return cmd_misused(&cmd_sink, "--count: a whole number from 1, not %s", options[OPTION_COUNT].value);
	if (!endpoint_parse(span_text(options[OPTION_LISTEN].value ? options[OPTION_LISTEN].value : "127.0.0.1:2526"), 0, &at, &err))
		return cmd_misused(&cmd_sink, "--listen: %s", err.text);

	list_init(&sink.sessions);
	peak_init(&sink.rate, windows_us, countof(windows_us));
	if (options[OPTION_SCRIPT].value) {
		sink.script = sink_script_load(options[OPTION_SCRIPT].value, &err);
		if (!sink.script) {
			fprintf(stderr, "%s\n", err.text);
			close_sink(&sink);
			return EXIT_FAILED;
		}
	}
	if (open_sink(&sink, &at, &err)) {
		loop_run(sink.loop);
		(options[OPTION_JSON].value ? report_json : report_text)(&sink);
		status = EXIT_DONE;
	} else {
		status = cmd_failed("%s", err.text);
	}
	close_sink(&sink);
	return status;
}

const struct cmd cmd_sink = {
	.name = "sink",
	.arguments = "[--listen ADDR] [--script FILE.lua] [--count N] [--json]",
	.summary = "a test receiver that answers as told",
	.help =
	"Takes mail, drops it, and prints what it saw when it is stopped (Ctrl-C,\n"
	"SIGTERM) or when N messages have come.\n"
	"\n"
	"  --listen ADDR      127.0.0.1:2526 unless given; port 0 takes a free one\n"
	"  --script FILE.lua  what to answer instead of 250; the newest rule is asked\n"
	"                     first, in the end everything is accepted:\n"
	"      answer { to = \"RCPT\", with = \"450 4.2.1 busy\", times = 2 }\n"
	"      answer { to = \".\", with = \"421 RP-001 too many\", every = 10 }\n"
	"      answer { to = \"MAIL\", fn = function(event) … return \"250 2.1.0 ok\" end }\n"
	"                     to: connect, EHLO, MAIL, RCPT, DATA, \".\"; when = function\n"
	"                     of the event, which has verb, line, at (seconds), source\n"
	"  --count N          stop after N messages\n"
	"  --json             {\"connections\", \"peak_connections\", \"messages\",\n"
	"                     \"recipients\", \"bytes\", \"refusals\", \"seconds\",\n"
	"                     \"peak_rate\": {\"1s\", \"1m\", \"1h\"}}: most recipients in any window\n"
	"\n"
	"example:\n"
	"  $ sluice sink --count 1000 & sluice inject --count 1000 127.0.0.1:2526\n",
	.run = run,
};
