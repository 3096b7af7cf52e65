/*
 * `sink`: a receiver that takes everything, or answers as a script tells, and
 * says what it saw when it stops.
 *
 * It measures senders, so it must not be what is measured: one thread, nothing
 * allocated for a message, bodies counted and dropped where they were read. The
 * sessions are those of the receivers of a world (sim/receiver.h), over sockets.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <signal.h>

#include "cmd/cmd.h"
#include "cmd/cmd_print.h"
#include "net/conn.h"
#include "net/process.h"
#include "sim/peak.h"
#include "sim/receiver.h"
#include "sim/sink_script.h"

#define GRACE_US (2 * US_PER_S)         /* for clients that are still there after the last message */

static const mono_us_t windows_us[] = { US_PER_S, 60 * US_PER_S, 3600 * US_PER_S };
static const char *const window_names[countof(windows_us)] = { "1s", "1m", "1h" };

struct sink {
	struct loop        *loop;
	struct net         *net;
	struct listener    *listener;
	struct sink_script *script;
	struct tls_server  *tls;                /* NULL: STARTTLS is not offered */
	struct receiver    *receiver;
	struct timer        grace;
	uint64_t            messages_max;       /* 0: no end */
	struct peak         rate;               /* of recipients, as they are accepted */
};

/* Who is in a session says QUIT in peace; nobody new is let in. */
static void
finish(struct sink *sink)
{
	if (!sink->listener)
		return;
	listener_close(sink->net, sink->listener);
	sink->listener = NULL;
	receiver_drain(sink->receiver);
	timer_start(&sink->loop->timers, &sink->grace, loop_now(sink->loop).mono + GRACE_US);
}

static void
on_grace(void *ctx, struct now now)
{
	struct sink *sink = ctx;

	loop_stop(sink->loop);
}

static void
on_rcpt(void *ctx)
{
	struct sink *sink = ctx;

	peak_add(&sink->rate, loop_now(sink->loop).mono);
}

static void
on_message(void *ctx)
{
	struct sink *sink = ctx;

	if (sink->messages_max && receiver_totals(sink->receiver)->messages >= sink->messages_max)
		finish(sink);
}

static void
on_closed(void *ctx)
{
	struct sink *sink = ctx;

	if (!sink->listener && receiver_totals(sink->receiver)->open == 0)
		loop_stop(sink->loop);
}

static void
on_failure(void *ctx, const struct err *err)
{
	cmd_failed("%s", err->text);
}

static void
on_signal(void *ctx, int signum)
{
	struct sink *sink = ctx;

	loop_stop(sink->loop);
}

static double
seconds(const struct receiver_totals *saw)
{
	return (double)(saw->last_at - saw->first_at) / (double)US_PER_S;
}

static void
report_json(const struct sink *sink)
{
	const struct receiver_totals *saw = receiver_totals(sink->receiver);
	json_t *rates = json_object();
	json_t *value;

	for (unsigned i = 0; i < countof(windows_us); i++)
		json_object_set_new(rates, window_names[i], json_integer(peak_most(&sink->rate, i)));
	value = json_pack("{s:I, s:i, s:I, s:I, s:I, s:I, s:f, s:o}",
			  "connections", (json_int_t)saw->connections, "peak_connections", (int)saw->peak_open,
			  "messages", (json_int_t)saw->messages, "recipients", (json_int_t)saw->recipients,
			  "bytes", (json_int_t)saw->bytes, "refusals", (json_int_t)saw->refusals,
			  "seconds", seconds(saw), "peak_rate", rates);
	cmd_print_json(value);
	json_decref(value);
}

static void
report_text(const struct sink *sink)
{
	const struct receiver_totals *saw = receiver_totals(sink->receiver);

	printf("connections  %" PRIu64 ", at most %" PRIu32 " at once\n", saw->connections, saw->peak_open);
	printf("messages     %" PRIu64 ", %" PRIu64 " recipients, %" PRIu64 " bytes\n",
	       saw->messages, saw->recipients, saw->bytes);
	printf("time         %.3f s from the first connection to the last message\n", seconds(saw));
	if (saw->refusals)
		printf("refusals     %" PRIu64 "\n", saw->refusals);
	printf("at most     ");
	for (unsigned i = 0; i < countof(windows_us); i++)
		printf(" %" PRIu32 " recipients in any %s%s", peak_most(&sink->rate, i), window_names[i],
		       i + 1 < countof(windows_us) ? "," : "");
	printf("%s\n", peak_saturated(&sink->rate) ? " (or more: too many to remember)" : "");
}

static bool
open_sink(struct sink *sink, const struct endpoint *at, const char *script, struct err *err)
{
	struct receiver_options options = {
		.tls = sink->tls,
		.host = "sink.invalid", .forgets = true, .reset = net_os_reset,
		.watch = { .on_rcpt = on_rcpt, .on_message = on_message, .on_closed = on_closed, .on_failure = on_failure, .ctx = sink },
	};
	char text[ENDPOINT_TEXT_MAX];

	process_open_files();
	sink->loop = options.loop = loop_os_new(err);
	sink->net = sink->loop ? net_os_new(sink->loop, err) : NULL;
	if (!sink->net)
		return false;
	options.epoch = clock_mono(&sink->loop->clock);
	sink->receiver = receiver_new(&options);
	receiver_set_starttls(sink->receiver, sink->tls != NULL);
	if (script)
		sink->script = sink_script_load(script, receiver_answers(sink->receiver), err);
	if (script && !sink->script)
		return false;
	sink->listener = net_listen(sink->net, at, LISTEN_ALONE, receiver_accept, sink->receiver, err);
	if (!sink->listener)
		return false;
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
	receiver_free(sink->receiver);
	sink_script_free(sink->script);
	if (sink->loop && timer_started(&sink->grace))
		timer_stop(&sink->loop->timers, &sink->grace);
	if (sink->net)
		listener_close(sink->net, sink->listener);
	net_os_free(sink->net);
	tls_server_free(sink->tls);
	loop_os_free(sink->loop);
	peak_fini(&sink->rate);
}

enum { OPTION_LISTEN, OPTION_SCRIPT, OPTION_CERTIFICATE, OPTION_KEY, OPTION_COUNT, OPTION_JSON };

static int
run(int argc, char **argv)
{
	struct cmd_option options[] = {
		[OPTION_LISTEN] = { "listen", true, NULL }, [OPTION_SCRIPT] = { "script", true, NULL },
		[OPTION_CERTIFICATE] = { "certificate", true, NULL }, [OPTION_KEY] = { "key", true, NULL },
		[OPTION_COUNT] = { "count", true, NULL },   [OPTION_JSON] = { "json", false, NULL },
	};
	struct sink sink = { 0 };
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

	if (!options[OPTION_CERTIFICATE].value != !options[OPTION_KEY].value)
		return cmd_misused(&cmd_sink, "--certificate and --key go together");
	if (options[OPTION_KEY].value &&
	    !(sink.tls = tls_server_new(options[OPTION_CERTIFICATE].value, options[OPTION_KEY].value, &err)))
		return cmd_failed("%s", err.text);

	peak_init(&sink.rate, windows_us, countof(windows_us));
	if (open_sink(&sink, &at, options[OPTION_SCRIPT].value, &err)) {
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
	.arguments = "[--listen ADDR] [--script FILE.lua] [--certificate FILE --key FILE] [--count N] [--json]",
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
	"                     of the event, which has verb, line, at (seconds), source;\n"
	"                     with, and what fn gives, may also be reset, hang, close\n"
	"  --certificate FILE --key FILE\n"
	"                     PEM: offer STARTTLS\n"
	"  --count N          stop after N messages\n"
	"  --json             {\"connections\", \"peak_connections\", \"messages\",\n"
	"                     \"recipients\", \"bytes\", \"refusals\", \"seconds\",\n"
	"                     \"peak_rate\": {\"1s\", \"1m\", \"1h\"}}: most recipients in any window\n"
	"\n"
	"example:\n"
	"  $ sluice sink --count 1000 & sluice inject --count 1000 127.0.0.1:2526\n",
	.run = run,
};
