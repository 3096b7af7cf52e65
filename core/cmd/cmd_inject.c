/*
 * `inject`: a load source. The sessions are inject.c's; here is what it was
 * told, and what it says in the end.
 *
 * The body is made once; each message differs in its Message-ID alone.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <signal.h>

#include "cmd/cmd.h"
#include "cmd/cmd_print.h"
#include "cmd/inject.h"
#include "net/process.h"
#include "smtp/smtp_path.h"
#include "util/log.h"
#include "util/prng.h"
#include "util/units.h"

#define CONCURRENCY_MAX 10000
#define SIZE_BYTES_MAX  (UINT64_C(1) << 30)
#define TICK_US         (200 * US_PER_MS)
#define STALL_US        (60 * US_PER_S) /* nobody said anything for so long: give up */

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
		inject_trouble(inject, "the receiver said nothing for a minute");
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
	inject_trouble(inject, "stopped by a signal");
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
	process_open_files();
	inject->loop = loop_os_new(err);
	inject->net = inject->loop ? net_os_new(inject->loop, err) : NULL;
	if (!inject->net)
		return false;
	if (inject->config.require_starttls && !(inject->tls = tls_client_new(NULL, err)))
		return false;
	timer_init(&inject->tick, on_tick, inject);
	loop_os_on_signal(inject->loop, SIGTERM, on_signal, inject);
	loop_os_on_signal(inject->loop, SIGINT, on_signal, inject);
	return true;
}

static void
close_inject(struct inject *inject)
{
	inject_sessions_cut(inject);
	if (inject->loop && timer_started(&inject->tick))
		timer_stop(&inject->loop->timers, &inject->tick);
	net_os_free(inject->net);
	tls_client_free(inject->tls);
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
		if (!inject_session_open(inject))
			break;
	if (list_empty(&inject->sessions))
		return;
	timer_start(&inject->loop->timers, &inject->tick, inject->started + TICK_US);
	loop_run(inject->loop);
	if (inject->progress)
		fprintf(stderr, "\r\033[K");
}

static double
ms(uint32_t us)
{
	return (double)us / (double)US_PER_MS;
}

static void
report(const struct inject *inject, bool as_json)
{
	double seconds = (double)max_i64(1, clock_mono(&inject->loop->clock) - inject->started) / (double)US_PER_S;
	double rate = (double)inject->accepted / seconds;
	const struct latency *latency = &inject->latency;

	if (as_json) {
		json_t *value = json_pack("{s:I, s:I, s:f, s:f, s:{s:f, s:f, s:f}}", "accepted", (json_int_t)inject->accepted,
					  "refused", (json_int_t)(inject->count - inject->accepted), "seconds", seconds, "rate", rate,
					  "latency", "p50", ms(latency_within_us(latency, .5)), "p99", ms(latency_within_us(latency, .99)),
					  "max", ms(latency->max_us));
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

enum { OPTION_TO, OPTION_FROM, OPTION_COUNT, OPTION_SIZE, OPTION_CONCURRENCY, OPTION_STARTTLS, OPTION_JSON };

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
		[OPTION_CONCURRENCY] = { "concurrency", true, NULL }, [OPTION_STARTTLS] = { "starttls", false, NULL },
		[OPTION_JSON] = { "json", false, NULL },
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
	inject.config.use_starttls = inject.config.require_starttls = options[OPTION_STARTTLS].value != NULL;
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
	.arguments = "[--to ADDRESS] [--from ADDRESS] [--count N] [--size S] [--concurrency N] [--starttls] [--json] ADDR",
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
	"  --starttls        or not at all; the certificate is not looked at\n"
	"  --json            {\"accepted\", \"refused\", \"seconds\", \"rate\",\n"
	"                    \"latency\": {\"p50\", \"p99\", \"max\"}}: of the reply to the\n"
	"                    final dot, in milliseconds\n"
	"\n"
	"example:\n"
	"  $ sluice inject --to user@example.com --count 10000 --concurrency 20 127.0.0.1:2525\n"
	"  accepted 10000 in 1.31 s: 7634/s\n",
	.run = run,
};
