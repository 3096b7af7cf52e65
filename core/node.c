/*
 * node - the real doors, the signals, and what the command line puts over the
 * policy; the wiring itself is shards.c.
 *
 * Start: policy, doors, shards, control socket; only when all that is there does
 * anybody get in. A swap asks here for what of the node's settings is not the shards':
 * the accounting file, the control socket, the name servers. Stop: transactions in flight end, for a while; the rest is cut.
 *
 * Until go() and again once the first loop has ended this is the only thread that a
 * loop runs on.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "control/control.h"
#include "first_policy.h"
#include "net/process.h"
#include "net/watchdog.h"
#include "reception/reception.h"
#include "shards.h"
#include "swap.h"
#include "util/log_stderr.h"
#include "workers.h"

#define TICK_US (50 * US_PER_MS)        /* so far behind is who follows the accounting file */

struct node {
	const struct node_options *given;
	struct shards  *shards;
	struct log      log;
	struct clock    clock;
	struct notify   notify;
	struct watchdog *watchdog;
	struct log_stderr log_to;
	struct first_policy first;      /* until the shards and the swap take it */
	struct ruleset_node settings;   /* the policy's, and what the command line puts over it */
	struct workers *workers;
	struct loop    *loop;           /* the first worker's, as all that follows */
	struct worker  *worker, *aside; /* for commits; for what takes long */
	struct disk    *disk;
	struct control *control;
	struct swap    *swap;
	struct account *next_account;   /* a swap is prepared; NULL: the one that is open stays */
	bool            next_account_made;      /* for it: its file was not there */
	struct listener *next_listener; /* NULL: the operator's socket stays where it is */
	const struct ruleset_node *next;
	char           *control_path;   /* where it listens */
	struct endpoint resolver;
	struct timer    tick;           /* while records wait, or the end of a stop */
	struct loop_call records;       /* they do: said by the shard that writes one */
	atomic_bool     records_said;   /* and not heard yet: after a swap the other file's may be under way */
	mono_us_t       stop_began;
	bool            stopping;
};

/* ---- while it runs ---- */

static bool
has_stopped(struct node *node, struct now now)
{
	mono_us_t lasts = now.mono - node->stop_began;

	return shards_are_idle(node->shards) || lasts >= SHARDS_STOP_FINAL_US ||
	       (lasts >= SHARDS_STOP_US && shards_waiting_final(node->shards) == 0);
}

static void
on_tick(void *ctx, struct now now)
{
	struct node *node = ctx;
	bool follows = node->shards->account != NULL && account_flush(node->shards->account);

	if (node->stopping && has_stopped(node, now))
		loop_stop(node->loop);
	else if (node->stopping || follows)
		timer_start(&node->loop->timers, &node->tick, now.mono + TICK_US);
}

static void
follow_account(struct node *node)
{
	if (!timer_started(&node->tick))
		timer_start(&node->loop->timers, &node->tick, loop_now(node->loop).mono + TICK_US);
}

static void
on_records_said(void *ctx)
{
	struct node *node = ctx;

	atomic_store(&node->records_said, false);
	follow_account(node);
}

/* On any shard's thread. */
static void
on_record(void *ctx)
{
	struct node *node = ctx;

	if (!atomic_exchange(&node->records_said, true))
		loop_post(node->loop, &node->records);
}

static void
on_signal(void *ctx, int signum)
{
	struct node *node = ctx;
	struct err err = { 0 };

	if (signum == SIGUSR1) {
		if (node->shards->account != NULL && !account_reopen(node->shards->account, &err))
			log_error(&node->log, "%s", err.text);
		follow_account(node);
		return;
	}
	if (signum == SIGHUP) {
		if (!node->stopping)
			swap_again(node->swap);
		return;
	}
	if (node->stopping) {
		loop_stop(node->loop);
		return;
	}
	log_info(&node->log, "stopping: transactions in flight are finished");
	notify_say(&node->notify, "STOPPING=1");
	node->stopping = true;
	node->stop_began = loop_now(node->loop).mono;
	shards_stop(node->shards);
	timer_start(&node->loop->timers, &node->tick, loop_now(node->loop).mono);
}

/* ---- putting together ---- */

static wall_ms_t
wall_now(void *ctx)
{
	return clock_now(ctx).wall;
}

/* Why it does not start. */
static void
tell(struct node *node, const char *why)
{
	log_bare(&node->log, LOG_ERROR, "sluice: %s", why);
}

static bool
check_options(struct node *node, struct err *err)
{
	const struct node_options *options = node->given;

	if (options->http != NULL)
		return err_set(err, ERR_PERM, "--http: the HTTP interface is not there yet");
	if (options->resolver != NULL && !endpoint_parse(span_text(options->resolver), 53, &node->resolver, err))
		return err_prefix(err, "--resolver %s: ", options->resolver);
	return true;
}

/* What the command line puts over a policy's. */
static struct ruleset_node
settings_of(const struct node *node, const struct policy *policy)
{
	const struct node_options *options = node->given;
	struct ruleset_node s = policy_ruleset(policy)->node;

	if (options->spool != NULL)
		s.spool = options->spool;
	if (options->control != NULL)
		s.control = options->control;
	if (options->accounting != NULL)
		s.accounting_file = options->accounting;
	if (options->workers > 0)
		s.workers = options->workers;
	if (options->resolver != NULL) {
		s.resolver = &node->resolver;
		s.resolver_n = 1;
	}
	if (node->first.writer != NULL)
		s.user = node->first.writer;
	return s;
}

/* Where the operator's socket is to be. The caller frees it. */
static char *
control_path(const struct ruleset_node *settings)
{
	size_t n = strlen(settings->spool) + sizeof "/control.sock";
	char *path;

	if (settings->control != NULL)
		return mem_strdup(settings->control);
	path = mem_alloc(n);
	snprintf(path, n, "%s/control.sock", settings->spool);
	return path;
}

static bool
open_doors(struct node *node, struct err *err)
{
	struct resolver_os_options names = {
		.servers = node->settings.resolver, .servers_n = node->settings.resolver_n,
	};

	node->workers = workers_open(node->first.n, &names, err);
	if (node->workers == NULL)
		return false;
	node->loop = node->workers->loops[0];
	timer_init(&node->tick, on_tick, node);
	node->records = (struct loop_call){ .fn = on_records_said, .ctx = node };
	node->worker = worker_os_new(node->loop, "spool", err);
	node->aside = node->worker ? worker_os_new(node->loop, "policy", err) : NULL;
	node->disk = node->aside ? disk_os_open(node->settings.spool, err) : NULL;
	node->watchdog = node->disk ? watchdog_os_new(&node->log, &node->notify, err) : NULL;
	return node->watchdog != NULL;
}

static bool
open_account(struct node *node, const char *path, unsigned records, struct account **out, struct err *err)
{
	*out = account_open(path, records, &node->log, err);
	if (*out != NULL)
		account_on_record(*out, on_record, node);
	return *out != NULL;
}

/* What needs root is done: no root from here on, so that every file is made by the user. */
static bool
on_bound(void *ctx, struct shards *shards, struct err *err)
{
	struct node *node = ctx;
	const char *user = node->settings.user, *path = node->settings.accounting_file;
	/* Whoever wrote the policy has a spool already, and root gives him no other. */
	bool gives = user != NULL && node->first.writer == NULL;

	if ((gives && !process_give_folder(node->settings.spool, user, err)) || (user != NULL && !process_become(user, err)))
		return false;
	return path == NULL || open_account(node, path, node->settings.accounting_records, &shards->account, err);
}

/* ---- a swap's part that is ours ---- */

static bool
prepare_account(struct node *node, const struct ruleset_node *settings, struct err *err)
{
	const char *path = settings->accounting_file, *now = node->settings.accounting_file;

	if (path == NULL || (now != NULL && strcmp(path, now) == 0 && settings->accounting_records == node->settings.accounting_records))
		return true;
	node->next_account_made = access(path, F_OK) != 0;
	return open_account(node, path, settings->accounting_records, &node->next_account, err) || err_prefix(err, "accounting: ");
}

static bool
prepare_listener(struct node *node, const struct ruleset_node *settings, struct err *err)
{
	char *path = control_path(settings);
	bool stays = strcmp(path, node->control_path) == 0;

	if (!stays)
		node->next_listener = control_listen(node->control, path, err);
	free(path);
	return stays || node->next_listener != NULL || err_prefix(err, "control: ");
}

static void
abandon_settings(void *ctx)
{
	struct node *node = ctx;

	account_close(node->next_account);
	if (node->next_account != NULL && node->next_account_made)
		unlink(node->next->accounting_file);
	node->next_account = NULL;
	if (node->next_listener != NULL)
		listener_close(node->workers->nets[0], node->next_listener);
	node->next_listener = NULL;
}

static bool
prepare_settings(void *ctx, const struct ruleset_node *settings, struct err *err)
{
	struct node *node = ctx;

	node->next = settings;
	if (prepare_account(node, settings, err) && prepare_listener(node, settings, err))
		return true;
	abandon_settings(node);
	return false;
}

static void
take_account(struct node *node)
{
	if (node->next_account == NULL && node->next->accounting_file != NULL)
		return;
	shards_take_account(node->shards, node->next_account);
	node->next_account = NULL;
	follow_account(node);           /* a header that the disk did not take waits, too */
}

/* Servers that cannot be found out are no reason to go back: those of before stay. */
static void
commit_settings(void *ctx)
{
	struct node *node = ctx;
	struct err err = { 0 };

	take_account(node);
	if (node->next_listener != NULL) {
		control_move(node->control, node->next_listener);
		node->next_listener = NULL;
		free(node->control_path);
		node->control_path = control_path(node->next);
	}
	if (!workers_set_servers(node->workers, node->next->resolver, node->next->resolver_n, &err))
		log_error(&node->log, "%s", err.text);
	node->settings = *node->next;
}

static bool
open_shards(struct node *node, struct err *err)
{
	struct shard_options *each = mem_alloc(node->first.n * sizeof *each);
	uint64_t seed = node->settings.seed ? node->settings.seed : prng_entropy();
	struct prng seeds;

	prng_seed(&seeds, seed);
	for (unsigned i = 0; i < node->first.n; i++)
		each[i] = (struct shard_options){
			.loop = node->workers->loops[i], .net = node->workers->nets[i], .names = node->workers->names[i],
			.worker = node->worker, .aside = node->aside, .disk = node->disk, .log = &node->log,
			.policy = node->first.policies[i], .settings = settings_of(node, node->first.policies[i]),
			.seed = i == 0 ? seed : prng_u64(&seeds),
		};
	free(node->first.policies);
	node->first.policies = NULL;
	node->shards = shards_open(&(struct shards_options){
		.each = each, .n = node->first.n, .peers = node->workers->peers, .on_bound = on_bound, .ctx = node,
	}, err);
	free(each);
	/* What recovery held of each message lies between the messages, and would stay ours as long as they do. */
	process_memory_trim();
	return node->shards != NULL;
}

static bool
open_control(struct node *node, struct err *err)
{
	node->control_path = control_path(&node->settings);
	node->control = control_open(node->shards, node->control_path, err);
	if (node->control == NULL)
		return false;
	node->swap = swap_new(&(struct swap_options){
		.shards = node->shards, .worker = node->aside, .clock = &node->clock, .bundle = node->first.bundle, .watch = node->given->watch,
		.prepare = prepare_settings, .commit = commit_settings, .abandon = abandon_settings, .ctx = node,
	});
	node->first.bundle = NULL;
	control_on_swap(node->control, swap_ask, node->swap);
	return true;
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
	log_info(&node->log, "spool %s, control socket %s", node->settings.spool, node->control_path);
	if (node->first.n > 1)
		log_info(&node->log, "%u workers", node->first.n);
	reception_each_listener(node->shards->all[0]->reception, say_listener, node);
	if (process_is_root())
		log_warning(&node->log, "runs as root, which it needs for ports below 1024 only: node { user = \"sluice\" } ends that");
	log_bare(&node->log, LOG_INFO, "ready");
	notify_say(&node->notify, "READY=1");
}

static bool
go(struct node *node, struct err *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	for (unsigned i = 0; i < countof(signals); i++)
		loop_os_on_signal(node->loop, signals[i], on_signal, node);
	follow_account(node);
	shards_start(node->shards);
	process_memory_aside();
	if (!workers_start(node->workers, node->watchdog, err))
		return false;
	say_ready(node);
	watchdog_watch(node->watchdog, node->loop, "shard-0");
	loop_run(node->loop);
	watchdog_leave(node->watchdog, node->loop);
	workers_stop(node->workers);
	return true;
}

static void
close_all(struct node *node)
{
	control_close(node->control);
	swap_free(node->swap, node->stopping);
	shards_close(node->shards);
	if (node->aside != NULL)
		worker_os_free(node->aside);
	if (node->disk != NULL)
		disk_os_close(node->disk);
	if (node->worker != NULL)
		worker_os_free(node->worker);
	workers_close(node->workers);
	watchdog_os_free(node->watchdog);
	first_policy_fini(&node->first);
	free(node->control_path);
}

static bool
run(struct node *node, struct err *err)
{
	if (!check_options(node, err))
		return false;
	node->settings = settings_of(node, node->first.policies[0]);
	if (!process_harden(node->settings.user != NULL, err))
		return false;
	/* Root would read any key for it. */
	if (node->first.writer != NULL && !process_act_as(node->first.writer, err))
		return false;
	return open_doors(node, err) && open_shards(node, err) &&
	       open_control(node, err) && go(node, err);
}

int
node_run(const struct node_options *options)
{
	struct node *node = mem_alloc(sizeof *node);
	struct err err = { 0 };
	bool ok;

	node->given = options;
	clock_os_init(&node->clock);
	notify_init(&node->notify);
	node->log = (struct log){
		.level = LOG_INFO, .wall = wall_now, .wall_ctx = &node->clock, .ranked = node->notify.journal,
	};
	log_stderr_init(&node->log_to, &node->log);
	process_hold_signals();
	process_open_files();
	ok = first_policy_load(&node->first, options, &node->log, &node->clock);
	if (ok) {
		ok = run(node, &err);
		if (!ok)
			tell(node, err.text);
	}
	close_all(node);
	log_stderr_fini(&node->log_to);
	free(node);
	return ok ? 0 : 1;
}
