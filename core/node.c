/*
 * node - the real doors, the signals, and what the command line puts over the
 * policy; the wiring itself is shard.c.
 *
 * Start: policy, doors, shard, control socket; only when all that is there does
 * anybody get in. Stop: transactions in flight end, for a while; then what is
 * left is cut.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include <errno.h>
#include <signal.h>

#include "control/control.h"
#include "delivery/delivery.h"
#include "net/process.h"
#include "reception/reception.h"
#include "shard.h"

#define STOP_TICK_US   (50 * US_PER_MS)
#define STOP_US        (8 * US_PER_S)
#define STOP_FINAL_US  (30 * US_PER_S)  /* for replies to messages sent whole: cut, they would be sent twice */

struct node {
	struct shard   *shard;
	struct log      log;
	struct clock    clock;
	struct policy  *policy;         /* until the shard takes it */
	struct ruleset_node settings;   /* the policy's, and what the command line puts over it */
	struct loop    *loop;
	struct net     *net;
	struct worker  *worker;
	struct disk    *disk;
	struct resolver_source *names;
	struct control *control;
	char           *control_path;
	struct endpoint resolver;
	struct timer    stop_tick;
	mono_us_t       stop_at;
	bool            stopping;
};

/* ---- while it runs ---- */

static void
on_stop_tick(void *ctx, struct now now)
{
	struct node *node = ctx;
	bool finished = shard_is_idle(node->shard);
	bool cut = now.mono >= node->stop_at && (now.mono >= node->stop_at + (STOP_FINAL_US - STOP_US) ||
						 delivery_waiting_final(node->shard->delivery) == 0);

	if (finished || cut) {
		loop_stop(node->loop);
		return;
	}
	timer_start(&node->loop->timers, &node->stop_tick, now.mono + STOP_TICK_US);
}

static void
on_signal(void *ctx, int signum)
{
	struct node *node = ctx;
	struct err err = { 0 };

	if (signum == SIGUSR1) {
		if (node->shard->account != NULL && !account_reopen(node->shard->account, &err))
			log_error(&node->log, "%s", err.text);
		return;
	}
	if (signum == SIGHUP) {
		log_warning(&node->log, "SIGHUP: swapping a policy is not there yet; the one in force stays");
		return;
	}
	if (node->stopping) {
		loop_stop(node->loop);
		return;
	}
	log_info(&node->log, "stopping: transactions in flight are finished");
	node->stopping = true;
	node->stop_at = loop_now(node->loop).mono + STOP_US;
	shard_stop(node->shard);
	timer_start(&node->loop->timers, &node->stop_tick, loop_now(node->loop).mono);
}

/* ---- putting together ---- */

static wall_ms_t
wall_now(void *ctx)
{
	return clock_now(ctx).wall;
}

static void
print_note(const struct policy_note *note)
{
	if (note->line > 0)
		fprintf(stderr, "%s:%d: %s\n", note->file, note->line, note->text);
	else
		fprintf(stderr, "%s: %s\n", note->file, note->text);
}

static struct policy *
load_policy(struct node *node, const char *path)
{
	struct policy_env env = { .log = &node->log, .clock = &node->clock, .seed = prng_entropy() };
	struct policy_report report;
	struct policy *policy;

	policy_report_init(&report);
	policy = policy_load(path, &env, &report);
	for (unsigned i = 0; i < report.errors_n; i++)
		print_note(&report.errors[i]);
	for (unsigned i = 0; i < report.warnings_n; i++)
		log_warning(&node->log, "%s:%d: %s", report.warnings[i].file, report.warnings[i].line, report.warnings[i].text);
	policy_report_fini(&report);
	return policy;
}

static bool
override(struct node *node, const struct node_options *options, struct err *err)
{
	struct ruleset_node *s = &node->settings;

	if (options->workers > 1)
		return err_set(err, ERR_PERM, "--workers %u: more than one worker is not there yet", options->workers);
	if (options->http != NULL)
		return err_set(err, ERR_PERM, "--http: the HTTP interface is not there yet");
	if (options->spool != NULL)
		s->spool = options->spool;
	if (options->control != NULL)
		s->control = options->control;
	if (options->accounting != NULL)
		s->accounting_file = options->accounting;
	if (options->resolver != NULL) {
		if (!endpoint_parse(span_text(options->resolver), 53, &node->resolver, err))
			return err_prefix(err, "--resolver %s", options->resolver);
		s->resolver = &node->resolver;
		s->resolver_n = 1;
	}
	if (s->control == NULL) {
		size_t n = strlen(s->spool) + sizeof "/control.sock";

		node->control_path = mem_alloc(n);
		snprintf(node->control_path, n, "%s/control.sock", s->spool);
		s->control = node->control_path;
	}
	return true;
}

static bool
open_doors(struct node *node, struct err *err)
{
	struct resolver_os_options names = {
		.servers = node->settings.resolver, .servers_n = node->settings.resolver_n,
	};

	node->loop = loop_os_new(err);
	node->net = node->loop ? net_os_new(node->loop, err) : NULL;
	node->worker = node->net ? worker_os_new(node->loop, "spool", err) : NULL;
	node->names = node->worker ? resolver_os_new(node->loop, &names, err) : NULL;
	node->disk = node->names ? disk_os_open(node->settings.spool, err) : NULL;
	return node->disk != NULL;
}

/* What needs root is done: no root from here on, so that every file is made by the user. */
static bool
on_bound(void *ctx, struct shard *shard, struct err *err)
{
	struct node *node = ctx;
	const char *user = node->settings.user, *path = node->settings.accounting_file;

	if (user != NULL && !(process_give_path(node->settings.spool, user, err) && process_become(user, err)))
		return false;
	if (path == NULL)
		return true;
	shard->account = account_open(path, node->settings.accounting_records, &node->log, err);
	return shard->account != NULL;
}

static bool
open_shard(struct node *node, struct err *err)
{
	struct shard_options options = {
		.loop = node->loop, .net = node->net, .worker = node->worker, .disk = node->disk, .names = node->names,
		.log = &node->log, .policy = node->policy, .settings = node->settings,
		.seed = node->settings.seed ? node->settings.seed : prng_entropy(), .on_bound = on_bound, .ctx = node,
	};

	node->policy = NULL;
	node->shard = shard_open(&options, err);
	if (node->shard == NULL)
		return false;
	/* What recovery held of each message lies between the messages, and would stay ours as long as they do. */
	process_memory_trim();
	node->control = control_open(node->shard, node->settings.control, err);
	return node->control != NULL;
}

static void
say_listener(void *ctx, const struct ruleset_listener *listener, const struct endpoint *at)
{
	struct node *node = ctx;
	char text[ENDPOINT_TEXT_MAX];

	(void)listener;
	endpoint_format(at, text);
	log_info(&node->log, "listening on %s; to send a first message: sluice inject --to you@example.com %s", text, text);
}

static void
say_ready(struct node *node)
{
	log_info(&node->log, "spool %s, control socket %s", node->settings.spool, node->settings.control);
	reception_each_listener(node->shard->reception, say_listener, node);
	fputs("ready\n", stderr);
}

static void
go(struct node *node)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	for (unsigned i = 0; i < countof(signals); i++)
		loop_os_on_signal(node->loop, signals[i], on_signal, node);
	timer_init(&node->stop_tick, on_stop_tick, node);
	shard_start(node->shard);
	say_ready(node);
	loop_run(node->loop);
}

static void
close_all(struct node *node)
{
	control_close(node->control);
	shard_close(node->shard);
	if (node->disk != NULL)
		disk_os_close(node->disk);
	if (node->names != NULL)
		resolver_os_free(node->names);
	if (node->worker != NULL)
		worker_os_free(node->worker);
	if (node->net != NULL)
		net_os_free(node->net);
	if (node->loop != NULL)
		loop_os_free(node->loop);
	policy_free(node->policy);
	free(node->control_path);
}

int
node_run(const struct node_options *options)
{
	struct node *node = mem_alloc(sizeof *node);
	struct err err = { 0 };
	bool ok;

	clock_os_init(&node->clock);
	node->log = (struct log){ .level = LOG_INFO, .wall = wall_now, .wall_ctx = &node->clock, .sink = log_sink_stderr };
	process_open_files();
	node->policy = load_policy(node, options->policy);
	ok = node->policy != NULL;
	if (ok) {
		node->settings = policy_ruleset(node->policy)->node;
		ok = override(node, options, &err) && open_doors(node, &err) && open_shard(node, &err);
		if (ok)
			go(node);
		else
			fprintf(stderr, "sluice: %s\n", err.text);
	}
	close_all(node);
	free(node);
	return ok ? 0 : 1;
}
