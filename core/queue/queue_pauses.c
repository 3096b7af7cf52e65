/*
 * queue_pauses - what an operator holds: queues, and jobs.
 *
 * A pause holds for queues that come later too, so it is kept as its pattern. A
 * resume takes away the patterns it covers; where a wider one is left, it stands
 * behind that one as an exception: of all that match a queue the last one holds.
 * A pause of a job holds that job's recipients beside the ring of their lane; its
 * resume, and that of the whole queue, puts them back.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

struct pause {
	struct list node;
	char       *job;                /* NULL: the whole queue */
	mono_us_t   until;              /* MONO_NEVER: until a resume */
	bool        lifted;             /* a resume: an exception of what stands before it */
	char        pattern[];
};

/* The timer stands at the first end. */
static void
arm(struct queues *queues)
{
	struct timers *timers = &queues->o.loop->timers;
	mono_us_t first = MONO_NEVER;

	list_each(node, &queues->pauses)
		first = min_i64(first, list_entry(node, struct pause, node)->until);
	if (first == MONO_NEVER)
		timer_stop(timers, &queues->pauses_timer);
	else
		timer_start(timers, &queues->pauses_timer, first);
}

static void
pause_add(struct queues *queues, struct span pattern, const char *job, bool lifted, mono_us_t until)
{
	struct pause *pause = mem_alloc(sizeof *pause + pattern.n + 1);

	memcpy(pause->pattern, pattern.p, pattern.n);
	pause->job = job != NULL ? mem_strdup(job) : NULL;
	pause->lifted = lifted;
	pause->until = until;
	list_add_tail(&queues->pauses, &pause->node);
	arm(queues);
}

static void
pause_free(struct pause *pause)
{
	list_remove(&pause->node);
	free(pause->job);
	free(pause);
}

static bool
is_of_job(const struct pause *pause, const char *job)
{
	return job == NULL || pause->job == NULL ? job == pause->job : strcmp(pause->job, job) == 0;
}

/* Those that the pattern covers; with_jobs and job NULL: also every job's. */
static void
pauses_remove(struct queues *queues, struct span pattern, const char *job, bool with_jobs)
{
	list_each_safe(node, &queues->pauses) {
		struct pause *pause = list_entry(node, struct pause, node);

		if (!queue_pattern_matches(pattern, span_text(pause->pattern)) ||
		    !(is_of_job(pause, job) || (job == NULL && with_jobs)))
			continue;
		pause_free(pause);
	}
	arm(queues);
}

static bool
is_for(const struct pause *pause, const char *name)
{
	return queue_pattern_matches(span_text(pause->pattern), span_text(name));
}

bool
queues_paused_by_hand(struct queues *queues, const char *name)
{
	bool paused = false;

	list_each(node, &queues->pauses) {
		const struct pause *pause = list_entry(node, struct pause, node);

		if (pause->job == NULL && is_for(pause, name))
			paused = !pause->lifted;
	}
	return paused;
}

/* A resume of the whole queue ends its jobs' pauses, a pause of it does not touch them. */
bool
queues_hold_job(struct queues *queues, const char *name, const char *job)
{
	bool held = false;

	list_each(node, &queues->pauses) {
		const struct pause *pause = list_entry(node, struct pause, node);

		if (!is_for(pause, name))
			continue;
		if (pause->job == NULL)
			held = held && !pause->lifted;
		else if (strcmp(pause->job, job) == 0)
			held = !pause->lifted;
	}
	return held;
}

bool
queues_hold_jobs(struct queues *queues, const char *name)
{
	list_each(node, &queues->pauses) {
		const struct pause *pause = list_entry(node, struct pause, node);

		if (pause->job != NULL && !pause->lifted && queues_hold_job(queues, name, pause->job))
			return true;
	}
	return false;
}

mono_us_t
queue_held_until(const struct queue *queue)
{
	mono_us_t last = 0;

	list_each(node, &queue->queues->pauses) {
		const struct pause *pause = list_entry(node, struct pause, node);

		if (pause->job != NULL && !pause->lifted && is_for(pause, queue->name) &&
		    queues_hold_job(queue->queues, queue->name, pause->job))
			last = max_i64(last, pause->until);
	}
	return last > 0 ? last : MONO_NEVER;
}

/* A pause that the resume did not cover may still hold what it matches: then it is an exception. */
static void
resume_add(struct queues *queues, struct span pattern, const char *job)
{
	bool pauses_left = false, concerned = false;

	list_each(node, &queues->pauses) {
		const struct pause *pause = list_entry(node, struct pause, node);

		pauses_left = pauses_left || !pause->lifted;
		concerned = concerned || (!pause->lifted && (job == NULL || is_of_job(pause, job)));
	}
	if (!pauses_left)
		queues_pauses_free(queues);     /* exceptions of nothing */
	else if (concerned)
		pause_add(queues, pattern, job, true, MONO_NEVER);
}

void
queues_pauses_free(struct queues *queues)
{
	pauses_remove(queues, SPAN("*"), NULL, true);
}

void
queues_pauses_save(struct queues *queues, mono_us_t now, struct buf *out)
{
	list_each(node, &queues->pauses) {
		const struct pause *pause = list_entry(node, struct pause, node);

		if (pause->until != MONO_NEVER) {
			buf_put_u8(out, SAVED_JOB_SUSPEND);
			buf_put_u64(out, (uint64_t)max_i64(pause->until - now, 0));
		} else {
			buf_put_u8(out, pause->lifted ? (pause->job != NULL ? SAVED_JOB_RESUME : SAVED_RESUME)
						      : (pause->job != NULL ? SAVED_JOB_PAUSE : SAVED_PAUSE));
		}
		buf_put_bytes(out, span_text(pause->pattern));
		if (pause->job != NULL)
			buf_put_bytes(out, span_text(pause->job));
	}
}

void
queues_pause_restore(struct queues *queues, struct span pattern, const char *job, bool lifted, mono_us_t until)
{
	pause_add(queues, pattern, job, lifted, until);
}

struct pausing {
	struct now  now;
	bool        paused;
	const char *job;
	uint64_t    rcpts;
};

/* Each recipient of the job to where it stands now: ready, or held. */
static uint64_t
replace_job(struct queue *queue, const char *job, struct now now)
{
	size_t n;
	struct rcpt **found = queue_collect(queue, job, false, &n);
	bool was = queue_freeze(queue);

	for (size_t i = 0; i < n; i++) {
		if (found[i]->state != RCPT_READY && found[i]->state != RCPT_HELD)
			continue;
		rcpt_unlink(found[i]);
		route_place(found[i], now);
	}
	queue_thaw(queue, was);
	free(found);
	return n;
}

static void
pause_one(void *ctx, struct queue *queue)
{
	struct pausing *pausing = ctx;
	bool had_jobs = queue->held_jobs;

	queue->held_jobs = queues_hold_jobs(queue->queues, queue->name);
	if (pausing->job != NULL) {
		pausing->rcpts += replace_job(queue, pausing->job, pausing->now);
	} else {
		pausing->rcpts += queue_n(queue);
		queue->paused_by_hand = pausing->paused;
		if (had_jobs && !pausing->paused)
			replace_job(queue, NULL, pausing->now);
	}
	queue_poll(queue, pausing->now);
}

static uint64_t
pause_until(struct queues *queues, struct span pattern, const char *job, bool paused, mono_us_t until, unsigned *queues_out,
	    struct now now)
{
	struct pausing pausing = { .now = now, .paused = paused, .job = job };

	/* A pause of the whole leaves those of its jobs: a resume of the whole ends them all. */
	pauses_remove(queues, pattern, job, !paused);
	if (paused)
		pause_add(queues, pattern, job, false, until);
	else
		resume_add(queues, pattern, job);
	*queues_out = queues_match(queues, pattern, pause_one, &pausing);
	queues_save_now(queues, now);
	return pausing.rcpts;
}

uint64_t
queues_pause(struct queues *queues, struct span pattern, const char *job, bool paused, unsigned *queues_out, struct now now)
{
	return pause_until(queues, pattern, job, paused, MONO_NEVER, queues_out, now);
}

uint64_t
queues_suspend_job(struct queues *queues, struct span pattern, const char *job, int64_t lasts_us, unsigned *queues_out,
		   struct now now)
{
	return pause_until(queues, pattern, job, true, now.mono + lasts_us, queues_out, now);
}

static void
on_pause_over(void *ctx, struct now now)
{
	struct queues *queues = ctx;

	list_each_safe(node, &queues->pauses) {
		struct pause *pause = list_entry(node, struct pause, node);
		struct pausing pausing = { .now = now };
		char *pattern, *job;

		if (pause->until > now.mono)
			continue;
		pattern = mem_strdup(pause->pattern);
		pausing.job = job = mem_strdup(pause->job);
		pause_free(pause);
		queues_match(queues, span_text(pattern), pause_one, &pausing);
		free(pattern);
		free(job);
	}
	queues_changed(queues);
	arm(queues);
}

void
queues_pauses_init(struct queues *queues)
{
	list_init(&queues->pauses);
	timer_init(&queues->pauses_timer, on_pause_over, queues);
}
