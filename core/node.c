/*
 * node - puts a shard together, runs it, and takes it apart in the one order
 * that loses nothing.
 *
 * Start: policy, doors, spool (its lock first of all), what it holds, the saved
 * limits, then the sockets; only when all that is there does anybody get in.
 * Stop: no new connections, transactions in flight end, the limits are saved,
 * the spool is synced.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include <errno.h>
#include <signal.h>

#include "control/control.h"
#include "delivery/delivery.h"
#include "delivery/outcome.h"
#include "net/process.h"
#include "reception/reception.h"
#include "shard.h"

#define TICK_US        (1 * US_PER_S)
#define SAVE_LARGE     (4u << 20)               /* bytes of state, above which a save is work */
#define SAVE_LARGE_US  (10 * US_PER_S)
#define SAVE_PAUSE_US  (200 * US_PER_MS)        /* between two saves, whatever changes */
#define STOP_TICK_US   (50 * US_PER_MS)
#define STOP_US        (8 * US_PER_S)
#define STOP_FINAL_US  (30 * US_PER_S)  /* for replies to messages sent whole: cut, they would be sent twice */

struct found {                          /* a message of the last run, until the queues are there */
	struct found   *next;
	struct message *message;
	struct span     meta;
	struct spool_rcpt_state *states;
};

struct node {
	struct shard    shard;
	struct log      log;
	struct clock    clock;
	struct ruleset_node settings;   /* the policy's, and what the command line puts over it */
	struct resolver_source *names;
	struct control *control;
	char           *control_path;
	char           *accounting_path;
	struct endpoint resolver;
	struct timer    tick, stop_tick;
	mono_us_t       stop_at, saved_at;
	size_t          saved_n;        /* bytes, then */
	bool            stopping;
	struct arena    found_arena;
	struct found   *found, **found_last;
};

/* ---- what the spool found ---- */

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *recovered)
{
	struct node *node = ctx;
	struct found *found = arena_alloc(&node->found_arena, sizeof *found);

	found->message = message_new(recovered->rcpts_n);
	found->meta = arena_span(&node->found_arena, recovered->meta);
	found->states = arena_alloc(&node->found_arena, recovered->rcpts_n * sizeof *found->states);
	memcpy(found->states, recovered->rcpts, recovered->rcpts_n * sizeof *found->states);
	*node->found_last = found;
	node->found_last = &found->next;
	return &found->message->spool;
}

static void
on_states(void *ctx, const struct spool_message *spooled, struct spool_rcpt_state *states)
{
	struct node *node = ctx;

	queues_states(node->shard.queues, container_of(spooled, struct message, spool), states);
}

/* Puts what was found into the queues; refuses if a message's virtual MTA is gone from the policy. */
static bool
requeue(struct node *node, struct err *err)
{
	const struct ruleset *ruleset = policy_ruleset(node->shard.policy);
	struct now now = loop_now(node->shard.loop);
	struct arena arena;
	uint64_t n = 0;
	bool ok = true;

	arena_init(&arena);
	for (struct found *found = node->found; found != NULL && ok; found = found->next) {
		struct envelope envelope;

		arena_reset(&arena);
		ok = envelope_decode(found->meta, &arena, &envelope, err);
		if (ok && envelope.rcpts_n != found->message->spool.rcpts_n)
			ok = err_set(err, ERR_PERM, "the spool holds a message whose envelope and record disagree about its recipients");
		if (ok && ruleset_vmta(ruleset, envelope.vmta) == NULL)
			ok = err_set(err, ERR_PERM, "the spool holds mail of the virtual MTA \"%.*s\", which %s does not declare",
				     SPAN_ARG(envelope.vmta), ruleset->file);
		if (!ok)
			break;
		queues_add(node->shard.queues, found->message, &envelope, found->states, now);
		found->message = NULL;
		n++;
	}
	arena_fini(&arena);
	if (ok && n > 0)
		log_info(&node->log, "%llu messages of the last run are queued again", (unsigned long long)n);
	return ok;
}

static void
forget_found(struct node *node)
{
	for (struct found *found = node->found; found != NULL; found = found->next)
		if (found->message != NULL)
			message_free(found->message);
	node->found = NULL;
	arena_fini(&node->found_arena);
}

/* ---- while it runs ---- */

static void
save_state(struct node *node, bool last)
{
	struct buf bytes;

	buf_init(&bytes, 0);
	queues_save(node->shard.queues, loop_now(node->shard.loop), &bytes);
	if (last)
		spool_state_last(node->shard.spool, buf_span(&bytes));
	else if (!spool_state_save(node->shard.spool, buf_span(&bytes)))
		node->shard.queues->changed = true;
	node->saved_at = loop_now(node->shard.loop).mono;
	node->saved_n = buf_len(&bytes);
	buf_fini(&bytes);
}

static void
watch_memory(struct node *node)
{
	bool full = node->settings.memory_limit > 0 && process_memory_used() > node->settings.memory_limit;

	if (full != node->shard.memory_full)
		log_warning(&node->log, full ? "memory_limit is reached: new mail is refused" : "memory is below memory_limit again");
	node->shard.memory_full = full;
}

static mono_us_t
save_again_at(const struct node *node)
{
	return node->saved_at + (node->saved_n > SAVE_LARGE ? SAVE_LARGE_US : SAVE_PAUSE_US);
}

static void
on_changed(void *ctx)
{
	struct node *node = ctx;
	mono_us_t at = max_i64(loop_now(node->shard.loop).mono, save_again_at(node));

	if (timer_started(&node->tick) && node->tick.node.key > at)
		timer_start(&node->shard.loop->timers, &node->tick, at);
}

static void
on_tick(void *ctx, struct now now)
{
	struct node *node = ctx;

	if (node->shard.account != NULL)
		account_flush(node->shard.account);
	if (node->shard.queues->changed && now.mono >= save_again_at(node))
		save_state(node, false);
	watch_memory(node);
	timer_start(&node->shard.loop->timers, &node->tick, now.mono + TICK_US);
}

static void
on_stop_tick(void *ctx, struct now now)
{
	struct node *node = ctx;
	bool finished = reception_sessions(node->shard.reception) == 0 && delivery_sessions(node->shard.delivery) == 0;
	bool cut = now.mono >= node->stop_at && (now.mono >= node->stop_at + (STOP_FINAL_US - STOP_US) ||
						 delivery_waiting_final(node->shard.delivery) == 0);

	if (finished || cut) {
		loop_stop(node->shard.loop);
		return;
	}
	timer_start(&node->shard.loop->timers, &node->stop_tick, now.mono + STOP_TICK_US);
}

static void
on_signal(void *ctx, int signum)
{
	struct node *node = ctx;
	struct err err = { 0 };

	if (signum == SIGUSR1) {
		if (node->shard.account != NULL && !account_reopen(node->shard.account, &err))
			log_error(&node->log, "%s", err.text);
		return;
	}
	if (signum == SIGHUP) {
		log_warning(&node->log, "SIGHUP: swapping a policy is not there yet; the one in force stays");
		return;
	}
	if (node->stopping) {
		loop_stop(node->shard.loop);
		return;
	}
	log_info(&node->log, "stopping: transactions in flight are finished");
	node->stopping = true;
	node->stop_at = loop_now(node->shard.loop).mono + STOP_US;
	reception_stop(node->shard.reception);
	node->shard.queues->stopping = true;
	delivery_stop(node->shard.delivery);
	timer_start(&node->shard.loop->timers, &node->stop_tick, loop_now(node->shard.loop).mono);
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
	struct shard *shard = &node->shard;
	struct resolver_os_options names = {
		.servers = node->settings.resolver, .servers_n = node->settings.resolver_n,
	};

	prng_seed(&shard->prng, node->settings.seed ? node->settings.seed : prng_entropy());
	shard->loop = loop_os_new(err);
	if (shard->loop == NULL)
		return false;
	shard->started = loop_now(shard->loop).mono;
	shard->net = net_os_new(shard->loop, err);
	shard->worker = shard->net ? worker_os_new(shard->loop, "spool", err) : NULL;
	node->names = shard->worker ? resolver_os_new(shard->loop, &names, err) : NULL;
	if (node->names == NULL)
		return false;
	shard->resolver = resolver_new(shard->loop, node->names, prng_u64(&shard->prng));
	return true;
}

static bool
open_spool(struct node *node, struct err *err)
{
	struct shard *shard = &node->shard;
	struct spool_options options = { .min_free_space = node->settings.min_free_space, .log = &node->log };
	struct spool_owner owner = { on_recovered, on_states, node };
	struct buf saved;
	bool clean = false, ok;

	node->found_last = &node->found;
	shard->spool = spool_open(shard->disk, shard->worker, shard->loop, &options, &owner, err);
	if (shard->spool == NULL)
		return false;
	shard->queues->o.spool = shard->spool;
	buf_init(&saved, 0);
	ok = spool_state_load(shard->spool, &saved, &clean, err);
	if (ok && buf_len(&saved) > 0)
		queues_load(shard->queues, buf_span(&saved), clean, loop_now(shard->loop));
	buf_fini(&saved);
	return ok && requeue(node, err);
}

static void
open_queues(struct node *node)
{
	struct shard *shard = &node->shard;
	struct queues_options options = {
		.ruleset = policy_ruleset(shard->policy), .resolver = shard->resolver, .loop = shard->loop,
		.log = &node->log, .seed = prng_u64(&shard->prng), .on_changed = on_changed, .changed_ctx = node,
	};

	shard->delivery = delivery_new(shard);
	options.ops = delivery_ops(shard->delivery);
	shard->queues = queues_new(&options, loop_now(shard->loop));
	/* Nothing leaves before everything is there. */
	shard->queues->stopping = true;
}

/* What needs root, then no root: ports below 1024 are bound, and every file is made by the user. Nobody is
 * accepted before the loop runs. */
static bool
open_ports(struct node *node, struct err *err)
{
	struct shard *shard = &node->shard;
	const char *user = node->settings.user;

	shard->disk = disk_os_open(node->settings.spool, err);
	if (shard->disk == NULL)
		return false;
	shard->reception = reception_open(shard, err);
	if (shard->reception == NULL)
		return false;
	return user == NULL || (process_give_path(node->settings.spool, user, err) && process_become(user, err));
}

static bool
open_control(struct node *node, struct err *err)
{
	node->control = control_open(&node->shard, node->settings.control, err);
	return node->control != NULL;
}

static bool
open_accounting(struct node *node, struct err *err)
{
	const char *path = node->settings.accounting_file;

	if (path == NULL)
		return true;
	node->shard.account = account_open(path, node->settings.accounting_records, &node->log, err);
	return node->shard.account != NULL;
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
	reception_each_listener(node->shard.reception, say_listener, node);
	fputs("ready\n", stderr);
}

static void
go(struct node *node)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	struct shard *shard = &node->shard;

	for (unsigned i = 0; i < countof(signals); i++)
		loop_os_on_signal(shard->loop, signals[i], on_signal, node);
	timer_init(&node->tick, on_tick, node);
	timer_init(&node->stop_tick, on_stop_tick, node);
	timer_start(&shard->loop->timers, &node->tick, loop_now(shard->loop).mono + TICK_US);
	/* A crash before the first tick must find a state that says it was no clean end. */
	save_state(node, false);
	shard->queues->stopping = false;
	queues_poll_all(shard->queues, loop_now(shard->loop));
	say_ready(node);
	loop_run(shard->loop);
}

static void
close_all(struct node *node)
{
	struct shard *shard = &node->shard;

	control_close(node->control);
	reception_close(shard->reception);
	if (shard->queues != NULL)
		shard->queues->stopping = true;
	delivery_free(shard->delivery);
	if (shard->spool != NULL) {
		save_state(node, true);
		spool_close(shard->spool);
	}
	if (shard->disk != NULL)
		disk_os_close(shard->disk);
	forget_found(node);
	queues_free(shard->queues);
	account_close(shard->account);
	if (shard->resolver != NULL)
		resolver_free(shard->resolver);
	if (node->names != NULL)
		resolver_os_free(node->names);
	if (shard->worker != NULL)
		worker_os_free(shard->worker);
	if (shard->net != NULL)
		net_os_free(shard->net);
	if (shard->loop != NULL)
		loop_os_free(shard->loop);
	policy_free(shard->policy);
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
	node->shard.log = &node->log;
	node->shard.generation = 1;
	arena_init(&node->found_arena);
	process_open_files();
	node->shard.policy = load_policy(node, options->policy);
	ok = node->shard.policy != NULL;
	if (ok) {
		node->settings = policy_ruleset(node->shard.policy)->node;
		ok = override(node, options, &err) && open_doors(node, &err);
		if (ok)
			open_queues(node);
		/* What expired meanwhile is accounted as it is read, so the accounting comes first. */
		ok = ok && open_ports(node, &err) && open_accounting(node, &err) && open_spool(node, &err) &&
		     open_control(node, &err);
		if (ok)
			go(node);
		else
			fprintf(stderr, "sluice: %s\n", err.text);
	}
	close_all(node);
	free(node);
	return ok ? 0 : 1;
}
