/*
 * The spool as each shard's loop has it, and the one lock behind them all.
 *
 * Whoever takes the lock says through which face: its loop is the one whose timers may be
 * touched meanwhile, and its time is the spool's. A batch serves all faces; when it is
 * done each ticket is put in its face's line, and a face on another loop is woken by one
 * call, however many tickets there are. The tickets are taken in and told there, on_commit
 * without the lock; until then they pin their segment, so that nobody moves or ends a
 * message that its engine has not heard of.
 *
 * Jobs are given to the worker by whoever finds that one is due. The gather timer is the
 * one of the face that settled first: no other loop is woken for it. Only the
 * retry timer is always the first's, since a face may close before it is due.
 *
 * A call that was posted cannot be taken back. So it has memory of its own, which a face
 * that closes leaves to it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define WRITERS_SPARE 128

struct spool_mail {
	struct loop_call call;
	struct spool    *face;          /* its loop's; NULL: closed meanwhile */
	bool             posted;        /* under the lock */
};

void
spool_enter(struct spool *face)
{
	struct spool_core *core = face->core;

	pthread_mutex_lock(&core->lock);
	core->caller = face;
	core->now = max_i64(core->now, face->loop->now.mono);
}

void
spool_leave(struct spool *face)
{
	struct spool_core *core = face->core;

	check(core->caller == face);
	core->caller = NULL;
	pthread_mutex_unlock(&core->lock);
}

/* ---- timers ---- */

static void
on_gathered(void *ctx, struct now now)
{
	struct spool *face = ctx;
	struct spool_core *core = face->core;

	spool_enter(face);
	/* A batch of another face's may have taken them since, and others may wait for another's timer. */
	if (core->gather_at <= core->now) {
		core->gather_at = MONO_NEVER;
		core->wants_notes = true;
		spool_pump(core);
	}
	spool_leave(face);
}

void
spool_gather(struct spool_core *core)
{
	struct spool *face = core->caller;

	if (core->closing || core->gather_at != MONO_NEVER)
		return;
	core->gather_at = core->now + SPOOL_GATHER_US;
	timer_start(&face->loop->timers, &face->gather_timer, core->gather_at);
}

void
spool_gathered(struct spool_core *core)
{
	struct spool *face = core->caller;

	core->gather_at = MONO_NEVER;
	timer_stop(&face->loop->timers, &face->gather_timer);
}

static void
wake(struct spool *face)
{
	if (face->loop == face->core->caller->loop || face->mail->posted)
		return;
	face->mail->posted = true;
	loop_post(face->loop, &face->mail->call);
}

static void
on_retry(void *ctx, struct now now)
{
	struct spool_core *core = ctx;

	spool_enter(&core->first);
	core->retry_at = MONO_NEVER;
	spool_stall_review(core);
	core->probe_due = core->failing.kind != ERR_NONE;
	if (core->probe_due)
		spool_retry_later(core);
	spool_pump(core);
	/* Whoever was put off while the timer ran waits for longer than it did. */
	if (spool_waits(core))
		spool_retry_later(core);
	spool_leave(&core->first);
}

void
spool_retry_later(struct spool_core *core)
{
	if (core->closing || core->retry_at != MONO_NEVER)
		return;
	core->retry_at = core->now + SPOOL_RETRY_US;
	if (core->caller->loop == core->first.loop)
		timer_start(&core->first.loop->timers, &core->retry_timer, core->retry_at);
	else
		wake(&core->first);
}

void
spool_timers_init(struct spool_core *core)
{
	core->gather_at = core->retry_at = MONO_NEVER;
	timer_init(&core->retry_timer, on_retry, core);
}

void
spool_retry_stop(struct spool_core *core)
{
	timer_stop(&core->first.loop->timers, &core->retry_timer);
}

/* ---- telling ---- */

void
spool_told(struct spool_ticket *ticket)
{
	struct spool *teller = ticket->face->teller;

	list_add_tail(&teller->told, &ticket->link);
	wake(teller);
}

void
spool_tell_later(struct spool_ticket *ticket)
{
	struct spool *teller = ticket->face->teller;

	check(ticket->err.kind != ERR_NONE);
	spool_told(ticket);
	if (teller->loop == teller->core->caller->loop)
		timer_start(&teller->loop->timers, &teller->tell_timer, teller->loop->now.mono);
}

static void
message_take_in(struct spool_core *core, struct spool_ticket *ticket)
{
	struct spool_message *message = ticket->message;

	message->at = ticket->at;
	message->all_bytes = ticket->all_bytes;
	message->record_bytes = ticket->fresh->n;
	message->rcpts_n = message->live = ticket->rcpts_n;
	spool_segment_link(ticket->segment, message);
	spool_fresh_keep(core, message, ticket->fresh);
	core->commits++;
}

static void
ticket_take_in(struct spool_core *core, struct spool_ticket *ticket)
{
	const struct err *err = ticket->err.kind ? &ticket->err : NULL;
	struct spool_segment *segment = ticket->segment;

	if (ticket->item)
		spool_compact_told(core, ticket, err);
	else if (!err)
		message_take_in(core, ticket);
	if (segment)
		segment->tickets--;
	if (ticket->fresh)
		spool_fresh_give(core, ticket->fresh);
	if (segment)
		spool_segment_review(segment);
	ticket->face->waiting--;
}

/* Its writer may end meanwhile, or wait again. */
static void
tell_room(struct spool_ticket *ticket)
{
	void (*on_room)(void *ctx) = ticket->on_room;

	ticket->on_room = NULL;
	on_room(ticket->ctx);
}

void
spool_tell(struct spool *face)
{
	struct spool *teller = face->teller;
	struct list told;

	list_init(&told);
	spool_enter(teller);
	list_splice_tail(&told, &teller->told);
	list_each (pos, &told) {
		struct spool_ticket *ticket = list_entry(pos, struct spool_ticket, link);
		if (!ticket->on_room)
			ticket_take_in(teller->core, ticket);
	}
	spool_leave(teller);
	while (!list_empty(&told)) {
		struct spool_ticket *ticket = list_first(&told, struct spool_ticket, link);
		list_remove(&ticket->link);
		if (ticket->on_room) {
			tell_room(ticket);
			continue;
		}
		if (ticket->on_commit)
			ticket->on_commit(ticket->ctx, ticket->err.kind ? &ticket->err : NULL);
		spool_writer_free(container_of(ticket, struct spool_writer, ticket));
	}
}

static void
tell_and_pump(struct spool *face)
{
	spool_tell(face);
	spool_enter(face);
	spool_pump(face->core);
	spool_leave(face);
}

static void
on_tell(void *ctx, struct now now)
{
	tell_and_pump(ctx);
}

static void
on_mail(void *ctx)
{
	struct spool_mail *mail = ctx;
	struct spool *face = mail->face;
	struct spool_core *core;

	if (!face) {
		free(mail);
		return;
	}
	core = face->core;
	spool_enter(face);
	mail->posted = false;
	if (face == &core->first && core->retry_at != MONO_NEVER)
		timer_start(&face->loop->timers, &core->retry_timer, core->retry_at);
	spool_leave(face);
	tell_and_pump(face);
}

/* ---- faces ---- */

void
spool_face_init(struct spool *face, struct spool_core *core, struct loop *loop)
{
	face->core = core;
	face->loop = loop;
	face->teller = loop == core->first.loop ? &core->first : face;
	list_init(&face->told);
	timer_init(&face->tell_timer, on_tell, face);
	timer_init(&face->gather_timer, on_gathered, face);
	pool_init(&face->writers, sizeof(struct spool_writer), WRITERS_SPARE);
	face->mail = mem_alloc(sizeof(*face->mail));
	face->mail->face = face;
	face->mail->call = (struct loop_call){ .fn = on_mail, .ctx = face->mail };
}

void
spool_face_fini(struct spool *face)
{
	timer_stop(&face->loop->timers, &face->tell_timer);
	timer_stop(&face->loop->timers, &face->gather_timer);
	pool_fini(&face->writers);
	face->mail->face = NULL;
	if (!face->mail->posted)
		free(face->mail);
}

struct spool *
spool_join(struct spool *first, struct loop *loop)
{
	struct spool_core *core = first->core;
	struct spool *face = mem_alloc(sizeof(*face));

	check(first == &core->first);
	spool_face_init(face, core, loop);
	spool_enter(face);
	core->faces_n++;
	spool_leave(face);
	return face;
}

/* Whoever waits is told; on_commit may commit again. */
static void
tell_the_last(struct spool *face)
{
	struct spool_core *core = face->core;
	bool waits = true;

	while (waits) {
		spool_enter(face);
		if (face->waiting) {
			spool_job_finish(core);
			spool_batch_now(core, false);
		}
		spool_leave(face);
		spool_tell(face);
		spool_enter(face);
		waits = face->waiting > 0;
		spool_leave(face);
	}
}

void
spool_part(struct spool *face)
{
	struct spool_core *core = face->core;

	tell_the_last(face);
	spool_enter(face);
	check(face->open == 0);
	/* The others do not watch its timer. */
	if (timer_started(&face->gather_timer) && core->gather_at != MONO_NEVER) {
		core->gather_at = MONO_NEVER;
		core->wants_notes = true;
		spool_pump(core);
	}
	core->faces_n--;
	spool_face_fini(face);
	spool_leave(face);
	free(face);
}
