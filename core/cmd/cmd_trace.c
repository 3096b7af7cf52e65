/*
 * `trace`: what sessions say, as they say it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"

struct view {
	bool      json, colour;
	long long left;                 /* lines; negative: no end */
};

static const char *
text(const json_t *line, const char *key)
{
	const char *value = json_string_value(json_object_get(line, key));
	return value ? value : "";
}

/* "12:34:56.789 #7 google/mta-1 mx.example.com (192.0.2.1) < 250 ok" */
static void
add_line(const struct view *view, const json_t *line, struct buf *out)
{
	const char *who = text(line, "who"), *at = text(line, "at"), *place = text(line, "queue");
	bool we = !strcmp(who, "we"), event = !strcmp(who, "event");
	struct buf said;

	buf_printf(out, "%.12s #%lld ", strlen(at) > 11 ? at + 11 : at, (long long)json_integer_value(json_object_get(line, "session")));
	cmd_add_clean(out, *place ? place : text(line, "listener"), 0);
	buf_add_char(out, ' ');
	cmd_add_clean(out, text(line, "peer"), 0);
	buf_add_text(out, we ? " > " : event ? " * " : " < ");
	buf_init(&said, 0);
	cmd_add_clean(&said, text(line, "line"), 0);
	cmd_add_styled(out, we ? CMD_GREEN : event ? CMD_DIM : strchr("45", *text(line, "line")) && *place ? CMD_RED : CMD_PLAIN,
		       view->colour, buf_span(&said));
	buf_add_char(out, '\n');
	buf_fini(&said);
}

static bool
show(void *ctx, const json_t *line)
{
	struct view *view = ctx;
	long long dropped = json_integer_value(json_object_get(line, "dropped"));
	struct buf out;

	if (dropped > 0)
		fprintf(stderr, "sluice: %lld lines were said faster than they were read here, and left out\n", dropped);
	if (dropped > 0)
		return true;
	if (view->json) {
		json_dumpf(line, stdout, JSON_COMPACT | cmd_json_flags());
		putchar('\n');
	} else {
		buf_init(&out, 0);
		add_line(view, line, &out);
		cmd_print_text(&out);
		buf_fini(&out);
	}
	/* Whoever reads the other end of a pipe has left: so have we. */
	return fflush(stdout) == 0 && (view->left < 0 || --view->left > 0);
}

static bool
parse_count(const char *given, long long *out)
{
	char *end;

	*out = -1;
	if (!given)
		return true;
	*out = strtoll(given, &end, 10);
	return *given && !*end && *out > 0;
}

static int
run(int argc, char **argv)
{
	enum { JSON, CONTROL, TO, QUEUE, LISTENER, COUNT };
	struct cmd_option options[] = {
		[JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL }, [TO] = { "to", true, NULL },
		[QUEUE] = { "queue", true, NULL }, [LISTENER] = { "listener", true, NULL }, [COUNT] = { "count", true, NULL },
	};
	struct view view = { .colour = cmd_has_colour() };
	struct err err = { 0 };
	json_t *request, *given = json_object();
	bool fine = true;
	int status;

	if (!cmd_parse(&cmd_trace, options, countof(options), &argc, argv, &status))
		goto out;
	status = argc != 1 ? cmd_misused(&cmd_trace, "trace takes no arguments; --queue, --to and --listener narrow it")
	       : !parse_count(options[COUNT].value, &view.left) ? cmd_misused(&cmd_trace, "--count needs a number of lines, from 1 on") : EXIT_DONE;
	if (status != EXIT_DONE)
		goto out;
	view.json = options[JSON].value != NULL;
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = TO; i <= LISTENER && fine; i++)
		fine = !options[i].value || json_object_set_new(given, options[i].name, json_string(options[i].value)) == 0;
	request = cmd_control_request("trace", NULL);
	json_object_set(request, "options", given);
	if (!fine) {
		json_decref(request);
		status = cmd_failed("an option is not UTF-8");
	} else if (!cmd_control_follow(cmd_control_path(options[CONTROL].value), request, show, &view, &err)) {
		status = cmd_failed("%s", err.text);
	}
out:
	json_decref(given);
	return status;
}

const struct cmd cmd_trace = {
	.name = "trace",
	.arguments = "[--to DOMAIN] [--queue QUEUE] [--listener NAME] [--count N] [--json] [--control PATH]",
	.summary = "the SMTP dialogue of live sessions",
	.help =
	"Prints what sessions say, as they say it, until ctrl-C: > is what the node says,\n"
	"< what the peer says, * what happens. TLS is shown in clear, messages by their\n"
	"size, passwords not at all. A terminal that is too slow misses lines, and is\n"
	"told how many; the node is never held up.\n"
	"\n"
	"  --to DOMAIN      outbound, while a recipient of that domain is at hand\n"
	"  --queue QUEUE    outbound, of that queue; it may hold * for anything\n"
	"  --listener NAME  inbound, of that listener (as the policy declares it)\n"
	"  --count N        ends after so many lines\n"
	"  --json           one object a line: session, at, who (we, they, event), line,\n"
	"                   queue, domain, listener, peer\n"
	"  --control PATH   the node's socket\n"
	"\n"
	"example:\n"
	"  $ sluice trace --queue 'google/*' --count 3\n"
	"  12:34:56.789 #7 google/mta-1 mx.example.com (192.0.2.1) * connected from 198.51.100.1\n"
	"  12:34:56.842 #7 google/mta-1 mx.example.com (192.0.2.1) < 220 mx.example.com ESMTP\n"
	"  12:34:56.842 #7 google/mta-1 mx.example.com (192.0.2.1) > EHLO mta.example.org\n",
	.run = run,
};
