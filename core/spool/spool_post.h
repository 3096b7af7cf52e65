/*
 * spool_post - for tests: a spool on a fake disk, with letters to put in it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "spool/spool_testing.h"

#define LETTERS 1200u

struct letter {
	struct spool_message message;
	unsigned   told;
	struct err err;
	uint32_t   body_bytes;
	struct spool_rcpt_state rcpts[2];
	bool       back;
};

struct post {
	struct fake_disk fake;
	struct hand      hand;
	struct spool    *spool;
	struct spool_options options;
	struct spool_owner owner;
	struct log       log;
	struct buf       lines;
	struct letter    letters[LETTERS];
	unsigned letters_n, recovered;
};

MAYBE wall_ms_t
post_wall(void *ctx)
{
	return (wall_ms_t){ 0 };
}

MAYBE void
post_line(void *ctx, const char *line, size_t n)
{
	buf_add(ctx, span_make(line, n));
}

MAYBE struct spool_message *
post_recovered(void *ctx, const struct spool_recovered *recovered)
{
	struct post *post = ctx;

	for (unsigned i = 0; i < post->letters_n; i++) {
		struct letter *letter = &post->letters[i];
		if (letter->message.id != recovered->id)
			continue;
		assert_true(span_eq(recovered->meta, SPAN("meta")));
		letter->rcpts[0] = recovered->rcpts[0];
		letter->rcpts[1] = recovered->rcpts_n > 1 ? recovered->rcpts[1] : (struct spool_rcpt_state){ 0 };
		letter->back = true;
		post->recovered++;
		letter->message = (struct spool_message){ .id = recovered->id };
		return &letter->message;
	}
	return NULL;
}

MAYBE void
post_states(void *ctx, const struct spool_message *message, struct spool_rcpt_state *rcpts)
{
	const struct letter *letter = container_of(message, struct letter, message);

	memcpy(rcpts, letter->rcpts, message->rcpts_n * sizeof(*rcpts));
}

MAYBE bool
post_try_open(struct post *post, struct err *err)
{
	post->recovered = 0;
	for (unsigned i = 0; i < post->letters_n; i++)
		post->letters[i].back = false;
	post->spool = spool_open(&post->fake.disk, &post->hand.worker, &post->hand.loop, &post->options, &post->owner, err);
	return post->spool != NULL;
}

MAYBE void
post_open(struct post *post)
{
	struct err err = { 0 };

	if (!post_try_open(post, &err))
		fail_msg("%s", err.text);
}

MAYBE struct post *
post_new(void)
{
	struct post *post = mem_alloc(sizeof(*post));

	fake_init(&post->fake, 1);
	hand_init(&post->hand);
	buf_init(&post->lines, 0);
	post->log = (struct log){ .wall = post_wall, .sink = post_line, .sink_ctx = &post->lines };
	post->options = (struct spool_options){ .segment_bytes = 64 * 1024, .log = &post->log };
	post->owner = (struct spool_owner){ post_recovered, post_states, post };
	return post;
}

MAYBE void
post_close(struct post *post)
{
	spool_close(post->spool);
	post->spool = NULL;
	hand_settle(&post->hand);
}

MAYBE void
post_free(struct post *post)
{
	post_close(post);
	hand_fini(&post->hand);
	fake_fini(&post->fake);
	buf_fini(&post->lines);
	free(post);
}

/* For tests that begin with an open spool at rest. */
MAYBE int
post_set_up_as(void **state, struct post *post)
{
	post_open(post);
	hand_settle(&post->hand);
	*state = post;
	return 0;
}

MAYBE int
post_set_up(void **state)
{
	return post_set_up_as(state, post_new());
}

MAYBE int
post_tear_down(void **state)
{
	post_free(*state);
	return 0;
}

/* What the node had not written is lost. */
MAYBE void
post_kill(struct post *post)
{
	post->fake.dead = true;
	post->fake.cut_at = 1;
	post_close(post);
	fake_revive(&post->fake);
}

MAYBE void
post_power_cut(struct post *post)
{
	post_kill(post);
	fake_power_cut(&post->fake);
}

MAYBE void
post_told(void *ctx, const struct err *err)
{
	struct letter *letter = ctx;

	letter->told++;
	if (err)
		letter->err = *err;
}

MAYBE void
post_body(uint64_t id, uint64_t at, size_t n, struct buf *to)
{
	for (size_t i = 0; i < n; i++)
		buf_add_char(to, (char)('a' + (id * 5 + (at + i) * 11 + (at + i) / 255) % 26));
}

/* Commits; nobody has worked yet. NULL: refused at the door. */
MAYBE struct letter *
post_send(struct post *post, uint32_t body_bytes)
{
	struct letter *letter = &post->letters[post->letters_n];
	struct spool_writer *writer = spool_begin(post->spool, &letter->err);
	struct buf body;
	bool ok;

	if (!writer)
		return NULL;
	assert_true(++post->letters_n < LETTERS);
	*letter = (struct letter){ .message = { .id = spool_next_id(post->spool) }, .body_bytes = body_bytes };
	buf_init(&body, 0);
	post_body(letter->message.id, 0, body_bytes, &body);
	ok = spool_write(writer, buf_span(&body), &letter->err);
	buf_fini(&body);
	if (!ok) {
		spool_abort(writer);
		return NULL;
	}
	spool_commit(writer, &letter->message, 2, SPAN("meta"), SPAN("A: b\r\n\r\n"), post_told, letter);
	return letter;
}

/* Sent, and durable. */
MAYBE struct letter *
post_sent(struct post *post, uint32_t body_bytes)
{
	struct letter *letter = post_send(post, body_bytes);

	assert_non_null(letter);
	hand_settle(&post->hand);
	assert_int_equal(letter->told, 1);
	assert_int_equal(letter->err.kind, ERR_NONE);
	return letter;
}

MAYBE bool
post_settle(struct post *post, struct letter *letter, uint16_t rcpt, uint8_t outcome)
{
	letter->rcpts[rcpt].outcome = outcome;
	letter->rcpts[rcpt].attempts++;
	return spool_settle(post->spool, &letter->message, rcpt, &letter->rcpts[rcpt]);
}

MAYBE void
post_deliver(struct post *post, struct letter *letter)
{
	assert_false(post_settle(post, letter, 0, SPOOL_DELIVERED));
	assert_true(post_settle(post, letter, 1, SPOOL_DELIVERED));
}

/* Until notes are written and the background is done. */
MAYBE void
post_rest(struct post *post)
{
	for (int i = 0; i < 4; i++) {
		hand_settle(&post->hand);
		hand_pass(&post->hand, 1100 * US_PER_MS);
	}
	hand_settle(&post->hand);
}

MAYBE void
post_check_read(struct post *post, struct letter *letter, size_t max)
{
	struct spool_reader reader;
	struct err err = { 0 };
	struct buf got, want;
	bool done = false;

	buf_init(&got, 0);
	buf_init(&want, 0);
	if (!spool_read_open(post->spool, &letter->message, &reader, &err))
		fail_msg("%s", err.text);
	buf_add_text(&want, "A: b\r\n\r\n");
	post_body(letter->message.id, 0, letter->body_bytes, &want);
	for (int round = 0; round < 2; round++) {
		done = false;
		buf_clear(&got);
		while (!done)
			assert_true(spool_read(&reader, max, &got, &done, NULL));
		assert_true(span_eq(buf_span(&got), buf_span(&want)));
		spool_read_rewind(&reader);
	}
	assert_int_equal(reader.size_bytes, buf_len(&want));
	spool_read_close(&reader);
	buf_fini(&got);
	buf_fini(&want);
}
