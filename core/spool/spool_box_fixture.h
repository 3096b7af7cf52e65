/*
 * spool_box_fixture - for tests of damage: a segment with letters in it, whose node was killed.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "spool/spool_post.h"

#define SENT 5u

struct box {
	struct post *post;
	char seg[SPOOL_NAME_MAX], jnl[SPOOL_NAME_MAX], seg_aside[SPOOL_NAME_MAX], jnl_aside[SPOOL_NAME_MAX];
	uint64_t at[SENT + 1];          /* of the letters' records, and where the last one ends */
	uint64_t jnl_end;               /* where its last record ends; behind both stand zeros */
};

/* Five letters in one segment, each in a batch of its own; the fourth is over; the node was killed. */
MAYBE void
box_init(struct box *box, uint32_t body_bytes)
{
	struct post *post = post_new();

	*box = (struct box){ .post = post };
	post_open(post);
	hand_settle(&post->hand);
	for (unsigned i = 0; i < SENT; i++) {
		post_sent(post, body_bytes);
		box->at[i] = post->letters[i].message.at;
	}
	box->at[SENT] = box->at[SENT - 1] + post->letters[SENT - 1].message.record_bytes;
	spool_segment_name(post->letters[0].message.segment, ".seg", box->seg);
	spool_segment_name(post->letters[0].message.segment, ".jnl", box->jnl);
	spool_segment_name(post->letters[0].message.segment, ".seg.damaged", box->seg_aside);
	spool_segment_name(post->letters[0].message.segment, ".jnl.damaged", box->jnl_aside);
	post_deliver(post, &post->letters[3]);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	box->jnl_end = post->letters[0].message.segment->journal_end;
	post_kill(post);
}

MAYBE void
box_fini(struct box *box)
{
	post_free(box->post);
}

MAYBE bool
said(struct box *box, const char *text)
{
	return span_find_text(buf_span(&box->post->lines), span_text(text)) != SIZE_MAX;
}

MAYBE void
assert_said(struct box *box, const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!said(box, text))
		fail_msg("not said: %s\nbut:\n%.*s", text, SPAN_ARG(buf_span(&box->post->lines)));
}

/* The letters that are back, a digit each. */
MAYBE void
assert_back(struct box *box, const char *want)
{
	char got[SENT + 1] = "";

	for (unsigned i = 0; i < SENT; i++) {
		if (!box->post->letters[i].back)
			continue;
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%u", i);
		post_check_read(box->post, &box->post->letters[i], 50);
	}
	assert_string_equal(got, want);
}
