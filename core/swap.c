/*
 * swap - read, build, compare, commit, probation.
 *
 *   asked    -> a struct loading goes to the worker with a bundle: empty (the files are
 *               read there, once) or sealed (the way back)
 *   worked   -> on the loop again: refused, or shards_swap(); whoever asked is told
 *   a minute -> the bundle is the good one, unless its hooks went wrong: then the
 *               good one comes back
 *
 * A swap that comes while one is under way is refused to a person, who may ask
 * again; a signal or a changed file, whom nobody asks again, waits for its end.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "swap.h"

#include "last_good.h"
#include "loading.h"

#define TICK_US         (1 * US_PER_S)
#define PROBATION_US    (60 * US_PER_S)
#define ERRORS_MANY     20              /* hook errors in it: too many */
#define ERRORS_FEW      5               /* too many if they are a tenth of the calls */
#define QUIET_TICKS     1               /* a file that changed is left alone for so long first */

struct swap {
	struct swap_options o;
	struct bundle  *current, *before;       /* before NULL: there was none */
	struct loading *loading;                /* NULL: none under way */
	bool            again;                  /* a signal or a change came meanwhile */
	struct timer    tick;
	mono_us_t       probation_until;        /* 0: passed */
	bool            may_roll_back;
	struct bundle  *tried;                  /* of the same policy, refused since; NULL: none was */
	uint64_t        seen;                   /* the files, as they stood when they were read */
	uint64_t        seen_now;
	unsigned        quiet;
	struct bundle  *good;                   /* the last one that has passed it, or that the node began with */
	struct last_good kept;
};

static struct shard *shard_of(const struct swap *swap) { return swap->o.shards->all[0]; }
static mono_us_t now_of(const struct swap *swap) { return loop_now(shard_of(swap)->loop).mono; }

/* ":12", or nothing where a note is of the file as a whole. */
static const char *
line_text(const struct policy_note *note, char out[static 16])
{
	out[0] = '\0';
	if (note->line > 0)
		snprintf(out, 16, ":%d", note->line);
	return out;
}

static void
log_warnings(struct log *log, const struct policy_report *report)
{
	char line[16];

	for (unsigned i = 0; i < report->warnings_n; i++)
		log_warning(log, "%s%s: %s", report->warnings[i].file, line_text(&report->warnings[i], line), report->warnings[i].text);
}

void
swap_print_report(struct log *log, const struct policy_report *report)
{
	for (unsigned i = 0; i < report->errors_n; i++) {
		const struct policy_note *note = &report->errors[i];
		char line[16];

		log_bare(log, LOG_ERROR, "%s%s: %s", note->file, line_text(note, line), note->text);
	}
	log_warnings(log, report);
}

/* ---- the last good one ---- */

static bool
has_last_good(const struct swap *swap)
{
	struct bundle *good = last_good_read(shard_of(swap)->settings.spool, NULL, NULL);

	bundle_free(good);
	return good != NULL;
}

/* ---- the files ---- */

/* What was read last, whether or not it was taken: a mend may be in a file that only the refused one has. */
static const struct bundle *
read_last(const struct swap *swap)
{
	return swap->tried != NULL ? swap->tried : swap->current;
}

static void
remember_read(struct swap *swap, uint64_t stamp)
{
	swap->seen = swap->seen_now = stamp;
	swap->quiet = 0;
}

static void
watch(struct swap *swap)
{
	uint64_t now = bundle_stamp_now(read_last(swap));

	if (now != swap->seen_now) {
		swap->seen_now = now;
		swap->quiet = 0;
		return;
	}
	if (now == swap->seen || swap->quiet++ < QUIET_TICKS)
		return;
	swap->seen = now;
	swap_again(swap);
}

/* ---- what comes of it ---- */

static void
log_refusal(const struct loading *l, const char *why)
{
	struct log *log = shard_of(l->swap)->log;

	if (why != NULL)
		log_error(log, "%s; the policy in force stays (swap %s)", why, l->cause);
	for (unsigned i = 0; why == NULL && i < l->report.errors_n; i++) {
		char line[16];
		const struct policy_note *note = &l->report.errors[i];

		log_error(log, "%s%s: %s; the policy in force stays (swap %s)", note->file, line_text(note, line), note->text, l->cause);
	}
}

static void
refused(struct loading *l, const char *why)
{
	struct buf out;

	if (!l->dry_run)
		log_refusal(l, why);
	if (l->later == NULL)
		return;
	buf_init(&out, 0);
	if (why != NULL)
		control_answer_refused_for(why, &out);
	else
		control_answer_refused(&l->report, &out);
	control_answer_later(l->later, buf_span(&out), NULL);
	buf_fini(&out);
}

static void
accepted(struct loading *l)
{
	struct buf out;

	if (l->later == NULL)
		return;
	buf_init(&out, 0);
	control_answer_swapped(shard_of(l->swap)->generation, buf_span(&l->changed), l->left_out, now_of(l->swap) - l->asked_at, &out);
	control_answer_later(l->later, buf_span(&out), NULL);
	buf_fini(&out);
}

static void
begin_probation(struct swap *swap, const struct loading *l)
{
	/* What was good before need not prove itself, and must not lead on to where it came from. */
	swap->may_roll_back = !l->back && !bundle_equal(swap->current, swap->good);
	swap->probation_until = now_of(swap) + PROBATION_US;
}

static void
committed(struct loading *l)
{
	struct swap *swap = l->swap;
	struct shard *shard = shard_of(swap);

	memset(l->policies, 0, l->policies_n * sizeof *l->policies);
	bundle_free(swap->before);
	swap->before = swap->current;
	swap->current = l->bundle;
	l->bundle = NULL;
	bundle_free(swap->tried);
	swap->tried = NULL;
	/* What goes back is no reading of the files: whatever they say now, it was refused by whoever went back. */
	remember_read(swap, l->back ? bundle_stamp_now(swap->current) : bundle_stamp(swap->current));
	begin_probation(swap, l);
	log_warnings(shard->log, &l->report);
	log_info(shard->log, "generation %u is in force: %s (swap %s); %u settings changed", shard->generation, swap->current->policy,
		 l->cause, l->changes_n);
}

static void
note_tried(struct loading *l)
{
	struct swap *swap = l->swap;
	const struct bundle *tried = l->bundle, *current = swap->current;

	if (l->dry_run || l->back || strcmp(tried->policy, current->policy) != 0 || strcmp(tried->base, current->base) != 0)
		return;
	bundle_free(swap->tried);
	swap->tried = l->bundle;
	l->bundle = NULL;
	remember_read(swap, bundle_stamp(swap->tried));
}

static bool
put_in_force(struct loading *l, struct err *err)
{
	struct swap *swap = l->swap;
	struct shard *shard = shard_of(swap);
	struct ruleset_node settings = shard_settings_under(shard, l->policies[0]);
	bool ok;

	shards_halt(swap->o.shards);
	ok = swap->o.prepare(swap->o.ctx, &settings, err) || err_prefix(err, "%s: node: ", policy_ruleset(l->policies[0])->file);
	if (ok) {
		ok = shards_swap(swap->o.shards, l->policies, l->dry_run, err);
		if (ok && !l->dry_run)
			swap->o.commit(swap->o.ctx);
		else
			swap->o.abandon(swap->o.ctx);
	}
	shards_resume(swap->o.shards);
	if (ok && !l->dry_run)
		committed(l);
	return ok;
}

static void
loaded(void *ctx)
{
	struct loading *l = ctx;
	struct swap *swap = l->swap;
	struct err err = { 0 };
	bool fine;

	if (swap == NULL) {
		loading_free(l);
		return;
	}
	swap->loading = NULL;
	fine = l->loaded && put_in_force(l, &err);
	if (fine) {
		accepted(l);
	} else {
		refused(l, l->loaded ? err.text : NULL);
		note_tried(l);
	}
	loading_free(l);
	if (swap->again) {
		swap->again = false;
		swap_again(swap);
	}
}

/* bundle is taken. */
static struct loading *
begin(struct swap *swap, struct bundle *bundle, const char *cause)
{
	struct loading *l = loading_new(swap->o.shards, swap->o.clock, bundle);

	l->swap = swap;
	l->cause = cause;
	l->asked_at = now_of(swap);
	l->job.done = loaded;
	l->job.ctx = l;
	swap->loading = l;
	worker_run(swap->o.worker, &l->job);
	return l;
}

/* The same bytes as then, whatever became of the files. */
static struct bundle *
copy_sealed(const struct bundle *bundle)
{
	struct bundle *copy;
	struct buf bytes;

	buf_init(&bytes, 0);
	bundle_encode(bundle, &bytes);
	copy = bundle_decode(buf_span(&bytes));
	check(copy != NULL);
	buf_fini(&bytes);
	return copy;
}

/* ---- who asks ---- */

void
swap_again(struct swap *swap)
{
	if (swap->loading != NULL) {
		swap->again = true;
		return;
	}
	begin(swap, bundle_new(swap->current->policy, swap->current->base), "to the same file");
}

void
swap_ask(void *ctx, const struct control_swap *asked, struct control_later *later)
{
	struct swap *swap = ctx;
	struct bundle *bundle;
	struct loading *l;
	char busy[100];

	if (swap->loading != NULL) {
		snprintf(busy, sizeof busy, "busy: generation %u is in preparation", shard_of(swap)->generation + 1);
		control_answer_later(later, span_make("", 0), busy);
		return;
	}
	if (asked->back && swap->before == NULL) {
		control_answer_later(later, span_make("", 0), "there is no policy to go back to: this one is the first since the node started");
		return;
	}
	if (asked->back)
		bundle = copy_sealed(swap->before);
	else if (asked->policy != NULL)
		bundle = bundle_new(asked->policy, asked->base != NULL ? asked->base : "");
	else
		bundle = bundle_new(swap->current->policy, swap->current->base);
	l = begin(swap, bundle, asked->back ? "back" : "by command");
	l->back = asked->back;
	l->dry_run = asked->dry_run;
	l->later = later;
}

/* ---- probation ---- */

static bool
too_many_errors(const struct swap *swap, uint64_t *calls_out, uint64_t *errors_out)
{
	struct shards *shards = swap->o.shards;

	*calls_out = *errors_out = 0;
	shards_halt(shards);
	for (unsigned i = 0; i < shards->n; i++) {
		uint64_t calls, errors;

		policy_counts(shards->all[i]->policy, &calls, &errors);
		*calls_out += calls;
		*errors_out += errors;
	}
	shards_resume(shards);
	return *errors_out >= ERRORS_MANY || (*errors_out >= ERRORS_FEW && *errors_out * 10 >= *calls_out);
}

/* To what has proved itself: the one just before may have had no time to. */
static void
roll_back(struct swap *swap, uint64_t errors, uint64_t calls)
{
	struct loading *l;

	swap->may_roll_back = false;
	log_error(shard_of(swap)->log, "generation %u is taken back: %llu of %llu hook calls went wrong within a minute; %s comes back",
		  shard_of(swap)->generation, (unsigned long long)errors, (unsigned long long)calls, swap->good->policy);
	l = begin(swap, copy_sealed(swap->good), "back, by itself");
	l->back = true;
}

static void
has_proved_itself(struct swap *swap)
{
	bundle_free(swap->good);
	swap->good = copy_sealed(swap->current);
	last_good_keep(&swap->kept, swap->current);
}

static void
watch_probation(struct swap *swap)
{
	uint64_t calls, errors;
	bool bad;

	if (swap->probation_until == 0 || swap->loading != NULL)
		return;
	bad = too_many_errors(swap, &calls, &errors);
	if (bad && swap->may_roll_back) {
		roll_back(swap, errors, calls);
		return;
	}
	if (now_of(swap) < swap->probation_until)
		return;
	swap->probation_until = 0;
	if (!bad)
		has_proved_itself(swap);
}

static void
on_tick(void *ctx, struct now now)
{
	struct swap *swap = ctx;

	watch_probation(swap);
	if (swap->o.watch)
		watch(swap);
	timer_start(&shard_of(swap)->loop->timers, &swap->tick, now.mono + TICK_US);
}

/* ---- the whole ---- */

struct swap *
swap_new(const struct swap_options *options)
{
	struct swap *swap = mem_alloc(sizeof *swap);

	swap->o = *options;
	swap->current = options->bundle;
	swap->good = copy_sealed(swap->current);
	swap->kept = (struct last_good){ .disk = shard_of(swap)->disk, .worker = options->worker, .log = shard_of(swap)->log };
	remember_read(swap, swap->current->sealed ? bundle_stamp_now(swap->current) : bundle_stamp(swap->current));
	timer_init(&swap->tick, on_tick, swap);
	timer_start(&shard_of(swap)->loop->timers, &swap->tick, now_of(swap) + TICK_US);
	/* Where nothing better is known, what the node has started with is good enough. */
	if (has_last_good(swap))
		swap->probation_until = now_of(swap) + PROBATION_US;
	else
		last_good_keep(&swap->kept, swap->current);
	return swap;
}

void
swap_free(struct swap *swap, bool clean)
{
	uint64_t calls, errors;

	if (swap == NULL)
		return;
	if (clean && swap->probation_until != 0 && !too_many_errors(swap, &calls, &errors))
		last_good_keep(&swap->kept, swap->current);
	if (swap->loading != NULL) {
		if (swap->loading->later != NULL)
			control_answer_later(swap->loading->later, span_make("", 0), "the node stops");
		swap->loading->later = NULL;
		swap->loading->swap = NULL;
		swap->loading->shards = NULL;
	}
	timer_stop(&shard_of(swap)->loop->timers, &swap->tick);
	bundle_free(swap->current);
	bundle_free(swap->before);
	bundle_free(swap->good);
	bundle_free(swap->tried);
	free(swap);
}
