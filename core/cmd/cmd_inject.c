/*
 * `inject`: a load source, speaking by the node's own client machine.
 *
 * Sessions take the next message from one counter, so a slow one holds up
 * nobody. A session that ends after it got something through is opened again
 * (receivers close after so many messages); one that ends before is not, or a
 * receiver that refuses connections would be hammered for ever.
 *
 * The body is made once; each message differs in its Message-ID alone.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <signal.h>

#include "cmd/cmd.h"
#include "cmd/cmd_print.h"
#include "net/conn.h"
#include "smtp/smtp_client.h"
#include "smtp/smtp_path.h"
#include "util/list.h"
#include "util/log.h"
#include "util/prng.h"
#include "util/units.h"

#define CONCURRENCY_MAX 10000
#define SIZE_BYTES_MAX  (UINT64_C(1) << 30)
#define WRITE_AHEAD     (256 * 1024)    /* of a body, per session */
#define TICK_US         (200 * US_PER_MS)
#define STALL_US        (60 * US_PER_S) /* nobody said anything for so long: give up */

struct inject {
	struct loop    *loop;
	struct net     *net;
	struct endpoint to;
	const char     *sender, *recipient;
	struct smtp_client_config config;
	struct list     sessions;
	struct timer    tick;
	struct buf      head, body;             /* wire form, without Message-ID and the final dot */
	uint64_t        count, begun, accepted, refused;
	uint64_t        run_id;
	mono_us_t       started, last_heard;
	bool            progress, stopped;
	char            first_trouble[SMTP_REPLY_TEXT_MAX + 100];
};

struct inject_session {
	struct list                link;
	struct inject             *inject;
	struct conn               *conn;
	struct smtp_client         client;
	struct smtp_client_message message;
	struct smtp_client_rcpt    rcpt;
	bool                       sending, writing;    /* a transaction; its body */
	size_t                     written;             /* of the body */
	uint64_t                   accepted;
};

static bool open_session(struct inject *inject);

static void
note_trouble(struct inject *inject, const char *text)
{
	if (!inject->first_trouble[0])
		snprintf(inject->first_trouble, sizeof(inject->first_trouble), "%s", text);
}

static void
end_transaction(struct inject_session *session)
{
	struct inject *inject = session->inject;

	session->sending = session->writing = false;
	if (session->rcpt.reply.code >= 200 && session->rcpt.reply.code < 300) {
		inject->accepted++;
		session->accepted++;
		return;
	}
	inject->refused++;
	note_trouble(inject, session->rcpt.reply.line);
}

static void
close_session(struct inject_session *session)
{
	struct inject *inject = session->inject;
	bool again = session->accepted > 0 && inject->begun < inject->count;

	list_remove(&session->link);
	conn_close(session->conn);
	smtp_client_fini(&session->client);
	free(session);
	if (again)
		open_session(inject);
	if (list_empty(&inject->sessions))
		loop_stop(inject->loop);
}

static void
send_next(struct inject_session *session)
{
	struct inject *inject = session->inject;

	if (inject->begun == inject->count || inject->stopped) {
		smtp_client_quit(&session->client);
		return;
	}
	inject->begun++;
	session->rcpt = (struct smtp_client_rcpt){ .address = span_text(inject->recipient) };
	session->message = (struct smtp_client_message){
		.sender = span_text(inject->sender),
		.size_bytes = buf_len(&inject->head) + buf_len(&inject->body),
		.rcpts = &session->rcpt, .rcpts_n = 1,
	};
	session->sending = true;
	smtp_client_send(&session->client, &session->message);
}

static void
flush(struct inject_session *session)
{
	conn_write(session->conn, buf_span(&session->client.out));
	buf_clear(&session->client.out);
}

static void
begin_body(struct inject_session *session)
{
	struct inject *inject = session->inject;
	char id[128];
	int n = snprintf(id, sizeof(id), "Message-ID: <%016" PRIx64 ".%" PRIu64 "@%s>\r\n",
			 inject->run_id, inject->begun, "inject.invalid");

	flush(session);
	conn_write(session->conn, span_make(id, (size_t)n));
	conn_write(session->conn, buf_span(&inject->head));
	session->written = 0;
	session->writing = true;
}

static void
write_body(struct inject_session *session)
{
	struct span body = span_from(buf_span(&session->inject->body), session->written);

	if (!session->writing)
		return;
	while (body.n > 0 && conn_pending(session->conn) < WRITE_AHEAD) {
		struct span piece = span_first(body, body.n < WRITE_AHEAD ? body.n : WRITE_AHEAD);

		conn_write(session->conn, piece);
		session->written += piece.n;
		body = span_from(body, piece.n);
	}
	if (body.n > 0)
		return;
	session->writing = false;
	smtp_client_body_sent(&session->client);
	flush(session);
}

static void
drive(struct inject_session *session)
{
	for (;;) {
		switch (smtp_client_next(&session->client)) {
		case SMTP_CLIENT_WAIT:
			flush(session);
			return;
		case SMTP_CLIENT_READY:
			send_next(session);
			break;
		case SMTP_CLIENT_BODY:
			begin_body(session);
			write_body(session);
			break;
		case SMTP_CLIENT_DONE:
			end_transaction(session);
			break;
		case SMTP_CLIENT_FAILED:
			note_trouble(session->inject, session->client.reply.line);
			close_session(session);
			return;
		case SMTP_CLIENT_CLOSED:
		case SMTP_CLIENT_START_TLS:     /* not asked for */
			flush(session);
			close_session(session);
			return;
		}
	}
}

static void
on_open(void *ctx)
{
}

static void
on_data(void *ctx, struct span data)
{
	struct inject_session *session = ctx;

	session->inject->last_heard = loop_now(session->inject->loop).mono;
	smtp_client_feed(&session->client, data);
	drive(session);
}

static void
on_drained(void *ctx)
{
	write_body(ctx);
}

static void
on_close(void *ctx, const struct err *err)
{
	struct inject_session *session = ctx;
	struct inject *inject = session->inject;
	struct smtp_reply reply;
	char to[ENDPOINT_TEXT_MAX], text[sizeof(err->text) + ENDPOINT_TEXT_MAX + 2];

	endpoint_format(&inject->to, to);
	snprintf(text, sizeof(text), "%s: %s", to, err ? err->text : "the peer closed the connection");
	if (session->sending) {
		smtp_reply_make(&reply, 400, "4.4.2", text);
		smtp_client_broken(&session->client, &reply);
		end_transaction(session);
	} else if (session->accepted == 0) {
		note_trouble(inject, text);
	}
	close_session(session);
}

static const struct conn_events events = {
	.on_open = on_open, .on_data = on_data, .on_drained = on_drained, .on_close = on_close,
};

static bool
open_session(struct inject *inject)
{
	struct inject_session *session = mem_alloc(sizeof(*session));
	struct err err = { 0 };

	session->inject = inject;
	session->conn = net_dial(inject->net, NULL, &inject->to, &events, session, &err);
	if (!session->conn) {
		note_trouble(inject, err.text);
		free(session);
		return false;
	}
	smtp_client_init(&session->client, &inject->config);
	list_init(&session->link);
	list_add_tail(&inject->sessions, &session->link);
	return true;
}

static void
show_progress(const struct inject *inject)
{
	if (inject->progress)
		fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " ", inject->accepted + inject->refused, inject->count);
}

static void
on_tick(void *ctx, struct now now)
{
	struct inject *inject = ctx;

	show_progress(inject);
	if (now.mono - inject->last_heard > STALL_US) {
		note_trouble(inject, "the receiver said nothing for a minute");
		loop_stop(inject->loop);
		return;
	}
	timer_start(&inject->loop->timers, &inject->tick, now.mono + TICK_US);
}

/* Once: what is under way is finished. Twice: that is the end. */
static void
on_signal(void *ctx, int signum)
{
	struct inject *inject = ctx;

	if (inject->stopped)
		loop_stop(inject->loop);
	inject->stopped = true;
	note_trouble(inject, "stopped by a signal");
}

/* `size` counts everything behind the Message-ID. */
static void
compose(struct inject *inject, uint64_t size)
{
	static const char line[] = "The quick brown fox jumps over the lazy dog; 0123456789 times, if need be.\r\n";
	char date[40];
	size_t left;

	wall_format_mail(clock_now(&inject->loop->clock).wall, date);
	buf_printf(&inject->head, "Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nSubject: a message of sluice inject\r\n\r\n",
		   date, *inject->sender ? inject->sender : "postmaster@inject.invalid", inject->recipient);
	left = size > buf_len(&inject->head) ? size - buf_len(&inject->head) : 0;
	for (; left >= sizeof(line) - 1; left -= sizeof(line) - 1)
		buf_add_text(&inject->body, line);
	if (left > 2)
		buf_add(&inject->body, span_make(line, left - 2));
	if (left >= 2)
		buf_add_text(&inject->body, "\r\n");
}

static bool
open_inject(struct inject *inject, struct err *err)
{
	inject->loop = loop_os_new(err);
	inject->net = inject->loop ? net_os_new(inject->loop, err) : NULL;
	if (!inject->net)
		return false;
	timer_init(&inject->tick, on_tick, inject);
	loop_os_on_signal(inject->loop, SIGTERM, on_signal, inject);
	loop_os_on_signal(inject->loop, SIGINT, on_signal, inject);
	return true;
}

static void
close_inject(struct inject *inject)
{
	list_each_safe(pos, &inject->sessions) {
		struct inject_session *session = list_entry(pos, struct inject_session, link);

		conn_close(session->conn);
		smtp_client_fini(&session->client);
		list_remove(pos);
		free(session);
	}
	if (inject->loop && timer_started(&inject->tick))
		timer_stop(&inject->loop->timers, &inject->tick);
	net_os_free(inject->net);
	loop_os_free(inject->loop);
	buf_fini(&inject->head);
	buf_fini(&inject->body);
}

static void
run_load(struct inject *inject, uint64_t concurrency, uint64_t size)
{
	compose(inject, size);
	inject->run_id = prng_entropy();
	inject->started = inject->last_heard = clock_mono(&inject->loop->clock);
	for (uint64_t i = 0; i < concurrency && i < inject->count; i++)
		if (!open_session(inject))
			break;
	if (list_empty(&inject->sessions))
		return;
	timer_start(&inject->loop->timers, &inject->tick, inject->started + TICK_US);
	loop_run(inject->loop);
	if (inject->progress)
		fprintf(stderr, "\r\033[K");
}

static void
report(const struct inject *inject, bool as_json)
{
	double seconds = (double)max_i64(1, clock_mono(&inject->loop->clock) - inject->started) / (double)US_PER_S;
	double rate = (double)inject->accepted / seconds;

	if (as_json) {
		json_t *value = json_pack("{s:I, s:I, s:f, s:f}", "accepted", (json_int_t)inject->accepted,
					  "refused", (json_int_t)(inject->count - inject->accepted), "seconds", seconds, "rate", rate);
		cmd_print_json(value);
		json_decref(value);
	} else {
		printf("accepted %" PRIu64 " in %.2f s: %.0f/s\n", inject->accepted, seconds, rate);
	}
}

/* Nothing got through, and there was nobody to refuse it: the reason alone says more than a count. */
static int
verdict(const struct inject *inject)
{
	uint64_t missing = inject->count - inject->accepted;

	if (missing == 0)
		return EXIT_DONE;
	if (inject->accepted == 0 && inject->refused == 0)
		return cmd_failed("%s", inject->first_trouble);
	if (missing == inject->refused)
		return cmd_failed("%" PRIu64 " of %" PRIu64 " messages were refused, the first by: %s",
				  missing, inject->count, inject->first_trouble);
	return cmd_failed("%" PRIu64 " of %" PRIu64 " messages were refused or not sent; first: %s",
			  missing, inject->count, inject->first_trouble);
}

enum { OPTION_TO, OPTION_FROM, OPTION_COUNT, OPTION_SIZE, OPTION_CONCURRENCY, OPTION_JSON };

static bool
number_ok(const struct cmd_option *option, uint64_t max, uint64_t *out, int *status_out)
{
	if (!option->value || (span_u64(span_text(option->value), max, out) && *out > 0))
		return true;
	*status_out = cmd_misused(&cmd_inject, "--%s: a whole number from 1 to %" PRIu64 ", not %s", option->name, max, option->value);
	return false;
}

static bool
address_ok(const struct cmd_option *option, bool null_ok, int *status_out)
{
	struct smtp_path path;
	const char *wrong;

	if (!option->value || (null_ok && !*option->value))
		return true;
	wrong = smtp_path_parse_bare(span_text(option->value), &path);
	if (wrong)
		*status_out = cmd_misused(&cmd_inject, "--%s: %s: %s", option->name, option->value, wrong);
	return !wrong;
}

static int
run(int argc, char **argv)
{
	struct cmd_option options[] = {
		[OPTION_TO] = { "to", true, NULL },     [OPTION_FROM] = { "from", true, NULL },
		[OPTION_COUNT] = { "count", true, NULL }, [OPTION_SIZE] = { "size", true, NULL },
		[OPTION_CONCURRENCY] = { "concurrency", true, NULL }, [OPTION_JSON] = { "json", false, NULL },
	};
	struct inject inject = { .config = { .helo = "inject.invalid" }, .count = 1 };
	uint64_t concurrency = 1, size = 1000;
	struct err err = { 0 };
	int status;

	if (!cmd_parse(&cmd_inject, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 2)
		return cmd_misused(&cmd_inject, argc < 2 ? "inject needs an address, as in 127.0.0.1:2525" : "inject takes one address");
	if (!number_ok(&options[OPTION_COUNT], INT64_MAX, &inject.count, &status) ||
	    !number_ok(&options[OPTION_CONCURRENCY], CONCURRENCY_MAX, &concurrency, &status) ||
	    !address_ok(&options[OPTION_TO], false, &status) || !address_ok(&options[OPTION_FROM], true, &status))
		return status;
	if (options[OPTION_SIZE].value && (!size_parse(span_text(options[OPTION_SIZE].value), &size, &err) || size > SIZE_BYTES_MAX))
		return cmd_misused(&cmd_inject, "--size: %s", err.kind ? err.text : "at most 1G");
	if (!endpoint_parse(span_text(argv[1]), 0, &inject.to, &err))
		return cmd_misused(&cmd_inject, "%s", err.text);

	inject.sender = options[OPTION_FROM].value ? options[OPTION_FROM].value : "sender@example.org";
	inject.recipient = options[OPTION_TO].value ? options[OPTION_TO].value : "user@example.com";
	inject.progress = isatty(STDERR_FILENO);
	list_init(&inject.sessions);
	buf_init(&inject.head, 0);
	buf_init(&inject.body, 0);
	if (open_inject(&inject, &err)) {
		run_load(&inject, concurrency, size);
		report(&inject, options[OPTION_JSON].value != NULL);
		fflush(stdout);
		status = verdict(&inject);
	} else {
		status = cmd_failed("%s", err.text);
	}
	close_inject(&inject);
	return status;
}

const struct cmd cmd_inject = {
	.name = "inject",
	.arguments = "[--to ADDRESS] [--from ADDRESS] [--count N] [--size S] [--concurrency N] [--json] ADDR",
	.summary = "a load source",
	.help =
	"Sends messages to ADDR (host address and port) as fast as it takes them, and\n"
	"says how many were accepted and how fast. Exit status 1 if any was not.\n"
	"\n"
	"  --to ADDRESS      recipient (user@example.com)\n"
	"  --from ADDRESS    sender (sender@example.org); \"\" is the null sender\n"
	"  --count N         messages (1)\n"
	"  --size S          of each, as in 20K (1000 bytes)\n"
	"  --concurrency N   sessions at once (1)\n"
	"  --json            {\"accepted\", \"refused\", \"seconds\", \"rate\"}\n"
	"\n"
	"example:\n"
	"  $ sluice inject --to user@example.com --count 10000 --concurrency 20 127.0.0.1:2525\n"
	"  accepted 10000 in 1.31 s: 7634/s\n",
	.run = run,
};
