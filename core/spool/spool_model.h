/*
 * spool_model - for tests: a small engine that uses a spool at random, and knows
 * what it was promised.
 *
 * After a crash it compares what came back: each message told durable and not
 * ended is there, whole; what ended durably, or was refused, is not.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "spool/spool_testing.h"

#define MAILS 256u
#define RCPTS 3u
#define WRITERS 3u

enum mail_state { MAIL_FREE, MAIL_WRITING, MAIL_WAITING, MAIL_LIVE, MAIL_REFUSED, MAIL_OVER };

struct mail {
	struct model *model;
	struct spool_message message;
	enum mail_state state;
	uint64_t id;
	uint32_t body_bytes, wrote;
	uint16_t rcpts_n;
	bool     maybe;                 /* no promise: either is right */
	bool     back;
	unsigned life;                  /* refused in */
	struct {
		struct spool_rcpt_state now;
		uint16_t attempts_safe;
		uint64_t batch;         /* durable when that one was clean */
		bool     end_safe;
	} rcpts[RCPTS];
	struct spool_writer *writer;
};

struct model {
	struct fake_disk fake;
	struct hand      hand;
	struct spool    *spool;
	struct prng      prng;
	struct mail      mails[MAILS];
	unsigned mails_n, life, recovered;
	uint64_t last_id;
	uint64_t compacted;
	bool     faults;
	struct spool_reader readers[2]; /* that take their time */
	const char *context;
};

static inline char
mail_byte(uint64_t id, uint64_t i)
{
	return (char)('a' + (id * 7 + i * 13 + i / 251) % 26);
}

MAYBE void
mail_fill(uint64_t id, uint64_t at, size_t n, struct buf *to)
{
	for (size_t i = 0; i < n; i++)
		buf_add_char(to, mail_byte(id, at + i));
}

MAYBE struct mail *
model_mail(struct model *model, uint64_t id)
{
	for (unsigned i = 0; i < model->mails_n; i++) {
		if (model->mails[i].id == id)
			return &model->mails[i];
	}
	return NULL;
}

/* What the spool has made durable of the recipients' states so far. */
MAYBE void
model_note_durable(struct model *model)
{
	for (unsigned i = 0; i < model->mails_n; i++) {
		struct mail *mail = &model->mails[i];
		for (unsigned k = 0; k < mail->rcpts_n; k++) {
			if (!mail->rcpts[k].batch || mail->rcpts[k].batch > model->spool->core->clean_upto)
				continue;
			mail->rcpts[k].attempts_safe = mail->rcpts[k].now.attempts;
			mail->rcpts[k].end_safe = mail->rcpts[k].now.outcome != SPOOL_WAITING;
		}
	}
}

MAYBE struct spool_message *
model_recovered(void *ctx, const struct spool_recovered *recovered)
{
	struct model *model = ctx;
	struct mail *mail = model_mail(model, recovered->id);
	char meta[64];

	assert_non_null(mail);
	assert_false(mail->back);
	assert_true(mail->state == MAIL_LIVE || mail->maybe);
	snprintf(meta, sizeof(meta), "meta %llu", (unsigned long long)mail->id);
	assert_true(span_eq(recovered->meta, span_text(meta)));
	assert_int_equal(recovered->rcpts_n, mail->rcpts_n);
	for (unsigned k = 0; k < mail->rcpts_n; k++) {
		const struct spool_rcpt_state *state = &recovered->rcpts[k];
		if (mail->rcpts[k].end_safe)
			assert_int_not_equal(state->outcome, SPOOL_WAITING);
		if (mail->rcpts[k].now.outcome == SPOOL_WAITING)
			assert_int_equal(state->outcome, SPOOL_WAITING);
		assert_true(state->attempts >= mail->rcpts[k].attempts_safe);
		assert_true(state->attempts <= mail->rcpts[k].now.attempts);
		mail->rcpts[k].now = *state;
		mail->rcpts[k].batch = 0;
		mail->rcpts[k].attempts_safe = state->attempts;
		mail->rcpts[k].end_safe = state->outcome != SPOOL_WAITING;
	}
	mail->back = true;
	mail->state = MAIL_LIVE;
	memset(&mail->message, 0, sizeof(mail->message));
	mail->message.id = mail->id;
	model->recovered++;
	return &mail->message;
}

MAYBE void
model_states(void *ctx, const struct spool_message *message, struct spool_rcpt_state *rcpts)
{
	struct mail *mail = container_of(message, struct mail, message);

	assert_int_equal(mail->state, MAIL_LIVE);
	for (unsigned k = 0; k < mail->rcpts_n; k++)
		rcpts[k] = mail->rcpts[k].now;
}

MAYBE bool
model_open(struct model *model, struct err *err)
{
	struct spool_options options = { .segment_bytes = 16 * 1024 };
	struct spool_owner owner = { model_recovered, model_states, model };

	for (unsigned i = 0; i < model->mails_n; i++)
		model->mails[i].back = false;
	model->spool = spool_open(&model->fake.disk, &model->hand.worker, &model->hand.loop, &options, &owner, err);
	return model->spool != NULL;
}

/* What did not come back must have had a right to stay away; and stays away. */
MAYBE void
model_check_recovered(struct model *model)
{
	for (unsigned i = 0; i < model->mails_n; i++) {
		struct mail *mail = &model->mails[i];
		if (mail->back || mail->state == MAIL_FREE)
			continue;
		assert_true(mail->state != MAIL_LIVE || mail->maybe);
		if (mail->state == MAIL_OVER)
			mail->maybe = false;
		else
			mail->state = MAIL_REFUSED;
		mail->maybe = false;
	}
	for (unsigned i = 0; i < model->mails_n; i++)
		model->mails[i].maybe = false;
}

MAYBE void
model_committed(void *ctx, const struct err *err)
{
	struct mail *mail = ctx;

	assert_int_equal(mail->state, MAIL_WAITING);
	mail->state = err ? MAIL_REFUSED : MAIL_LIVE;
	mail->life = mail->model->life;
	if (err)
		assert_int_equal(err->kind, ERR_TEMP);
	if (mail->model->fake.dead)
		mail->maybe = true;
}

MAYBE void
model_begin(struct model *model)
{
	struct mail *mail = &model->mails[model->mails_n];
	struct spool_writer *writer;
	struct err err = { 0 };

	if (model->mails_n == MAILS)
		return;
	writer = spool_begin(model->spool, &err);
	if (!writer) {
		assert_int_equal(err.kind, ERR_TEMP);
		return;
	}
	model->mails_n++;
	*mail = (struct mail){ .model = model, .state = MAIL_WRITING, .writer = writer, .id = spool_next_id(model->spool) };
	assert_true(mail->id > model->last_id);
	model->last_id = mail->id;
	mail->rcpts_n = (uint16_t)(1 + prng_below(&model->prng, RCPTS));
	mail->body_bytes = (uint32_t)prng_below(&model->prng, 3000);
	if (prng_below(&model->prng, 8) == 0)
		mail->body_bytes = (uint32_t)prng_below(&model->prng, 600000);
}

MAYBE void
model_write(struct model *model, struct mail *mail)
{
	uint32_t left = mail->body_bytes - mail->wrote, n = (uint32_t)prng_below(&model->prng, 300000) + 1;
	struct buf buf;

	n = n < left ? n : left;
	buf_init(&buf, 0);
	mail_fill(mail->id, mail->wrote, n, &buf);
	mail->wrote += n;
	if (!spool_write(mail->writer, buf_span(&buf), NULL)) {
		spool_abort(mail->writer);
		mail->writer = NULL;
		mail->state = MAIL_REFUSED;
	}
	buf_fini(&buf);
}

MAYBE void
model_commit(struct model *model, struct mail *mail)
{
	char meta[64], head[64];

	snprintf(meta, sizeof(meta), "meta %llu", (unsigned long long)mail->id);
	snprintf(head, sizeof(head), "Subject: %llu\r\n\r\n", (unsigned long long)mail->id);
	mail->message = (struct spool_message){ .id = mail->id };
	mail->state = MAIL_WAITING;
	spool_commit(mail->writer, &mail->message, mail->rcpts_n, span_text(meta), span_text(head), model_committed, mail);
	mail->writer = NULL;
}

MAYBE void
model_settle(struct model *model, struct mail *mail, unsigned k, uint8_t outcome)
{
	struct spool_rcpt_state *now = &mail->rcpts[k].now;
	bool over = true, said;

	if (now->outcome != SPOOL_WAITING)
		return;
	now->outcome = outcome;
	now->attempts++;
	now->due.ms += 60000;
	mail->rcpts[k].batch = model->spool->core->batches + 1;
	for (unsigned i = 0; i < mail->rcpts_n; i++)
		over = over && mail->rcpts[i].now.outcome != SPOOL_WAITING;
	if (over)
		mail->state = MAIL_OVER;
	said = spool_settle(model->spool, &mail->message, (uint16_t)k, now);
	assert_int_equal(said, over);
}

/* By the one way of reading and the other, in turns. */
MAYBE bool
model_read_some(struct model *model, struct spool_reader *reader, struct buf *got, bool in_place, bool *done, struct err *err)
{
	size_t max = 1 + (size_t)prng_below(&model->prng, 100000);
	struct span bytes = { 0 };
	struct buf room;
	bool ok;

	if (!in_place)
		return spool_read(reader, max, got, done, err);
	buf_init(&room, 0);
	buf_add_text(&room, "what was read before");
	ok = spool_read_next(reader, max, &room, &bytes, done, err);
	assert_true(bytes.n <= max);
	if (ok)
		buf_add(got, bytes);
	buf_fini(&room);
	return ok;
}

MAYBE void
model_read(struct model *model, struct mail *mail)
{
	struct spool_reader reader;
	struct err err = { 0 };
	struct buf got, want;
	bool done = false, in_place = mail->id % 2;
	char head[64];

	if (!spool_read_open(model->spool, &mail->message, &reader, &err)) {
		assert_true(model->faults && err.kind == ERR_TEMP);
		return;
	}
	buf_init(&got, 0);
	buf_init(&want, 0);
	while (!done && model_read_some(model, &reader, &got, in_place, &done, &err))
		in_place = !in_place;
	if (done) {
		snprintf(head, sizeof(head), "Subject: %llu\r\n\r\n", (unsigned long long)mail->id);
		buf_add_text(&want, head);
		mail_fill(mail->id, 0, mail->body_bytes, &want);
		assert_true(span_eq(buf_span(&got), buf_span(&want)));
	} else {
		assert_true(model->faults && err.kind == ERR_TEMP);
	}
	spool_read_close(&reader);
	buf_fini(&got);
	buf_fini(&want);
}

MAYBE void
model_reader_toggle(struct model *model, unsigned i, struct mail *mail)
{
	struct spool_reader *reader = &model->readers[i];

	if (reader->segment)
		spool_read_close(reader);
	else if (mail && !spool_read_open(model->spool, &mail->message, reader, NULL))
		assert_true(model->faults);
}

MAYBE struct mail *
model_any(struct model *model, enum mail_state state)
{
	unsigned from;

	if (!model->mails_n)
		return NULL;
	from = (unsigned)prng_below(&model->prng, model->mails_n);
	for (unsigned i = 0; i < model->mails_n; i++) {
		struct mail *mail = &model->mails[(from + i) % model->mails_n];
		if (mail->state == state)
			return mail;
	}
	return NULL;
}

MAYBE void
model_step(struct model *model)
{
	struct mail *mail;
	unsigned dice = (unsigned)prng_below(&model->prng, 100);

	if (dice < 15) {
		model_begin(model);
	} else if (dice < 40) {
		mail = model_any(model, MAIL_WRITING);
		if (mail && mail->wrote < mail->body_bytes)
			model_write(model, mail);
		else if (mail)
			model_commit(model, mail);
	} else if (dice < 41) {
		mail = model_any(model, MAIL_WRITING);
		if (mail) {
			spool_abort(mail->writer);
			mail->writer = NULL;
			mail->state = MAIL_REFUSED;
		}
	} else if (dice < 60) {
		mail = model_any(model, MAIL_LIVE);
		if (mail)
			model_settle(model, mail, (unsigned)prng_below(&model->prng, mail->rcpts_n),
				     prng_below(&model->prng, 3) ? SPOOL_DELIVERED : SPOOL_WAITING);
	} else if (dice < 63) {
		mail = model_any(model, MAIL_LIVE);
		if (mail)
			model_read(model, mail);
	} else if (dice < 64) {
		model_reader_toggle(model, (unsigned)prng_below(&model->prng, countof(model->readers)),
				    model_any(model, MAIL_LIVE));
	} else if (dice < 80) {
		hand_work(&model->hand);
	} else if (dice < 95) {
		hand_tell(&model->hand);
	} else {
		hand_pass(&model->hand, (int64_t)prng_below(&model->prng, 3 * US_PER_S) / (dice == 99 ? 1 : 1000));
	}
	model_note_durable(model);
}

MAYBE void
model_drop_users(struct model *model)
{
	for (unsigned i = 0; i < countof(model->readers); i++)
		spool_read_close(&model->readers[i]);
	for (unsigned i = 0; i < model->mails_n; i++) {
		struct mail *mail = &model->mails[i];
		if (!mail->writer)
			continue;
		spool_abort(mail->writer);
		mail->writer = NULL;
		mail->state = MAIL_REFUSED;
	}
}

/* The power goes, or only the node; now if not before. What was promised is noted. */
MAYBE void
model_crash(struct model *model, bool power)
{
	bool cut = false;

	model_note_durable(model);
	model->compacted += model->spool->core->compacted;
	list_each (pos, &model->spool->core->segments)
		cut = cut || list_entry(pos, struct spool_segment, link)->cut;
	model->fake.dead = true;
	model->fake.cut_at = 1;
	for (unsigned i = 0; i < model->mails_n; i++) {
		struct mail *mail = &model->mails[i];
		bool safe = true;
		/* Refused, but the disk would not even take it back: nobody can promise that. */
		if (cut && mail->state == MAIL_REFUSED && mail->life == model->life)
			mail->maybe = true;
		for (unsigned k = 0; k < mail->rcpts_n; k++)
			safe = safe && mail->rcpts[k].end_safe;
		if (mail->state == MAIL_OVER && !safe)
			mail->maybe = true;
	}
	model_drop_users(model);
	spool_close(model->spool);
	hand_settle(&model->hand);
	model->spool = NULL;
	if (power)
		fake_power_cut(&model->fake);
	else
		fake_revive(&model->fake);
	model->life++;
}

/* The node ends in order: where it says so afterwards, all that was settled holds, and nothing that was refused is there. */
MAYBE void
model_close(struct model *model)
{
	bool clean;

	model_note_durable(model);
	model_drop_users(model);
	spool_close(model->spool);
	hand_settle(&model->hand);
	model->spool = NULL;
	clean = fake_file(&model->fake, "clean") != NULL;
	for (unsigned i = 0; i < model->mails_n; i++) {
		struct mail *mail = &model->mails[i];
		bool safe = true;
		if (!clean && mail->state == MAIL_REFUSED && mail->life == model->life)
			mail->maybe = true;
		for (unsigned k = 0; k < mail->rcpts_n; k++) {
			if (clean && mail->rcpts[k].batch) {
				mail->rcpts[k].attempts_safe = mail->rcpts[k].now.attempts;
				mail->rcpts[k].end_safe = mail->rcpts[k].now.outcome != SPOOL_WAITING;
			}
			safe = safe && mail->rcpts[k].end_safe;
		}
		if (mail->state == MAIL_OVER && !safe)
			mail->maybe = true;
	}
	model->life++;
}

MAYBE void
model_init(struct model *model, uint64_t seed)
{
	memset(model, 0, sizeof(*model));
	fake_init(&model->fake, seed);
	hand_init(&model->hand);
	prng_seed(&model->prng, seed + 1000003);
}

MAYBE void
model_fini(struct model *model)
{
	if (model->spool) {
		model_drop_users(model);
		spool_close(model->spool);
	}
	hand_fini(&model->hand);
	fake_fini(&model->fake);
}
