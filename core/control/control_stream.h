/*
 * control_stream - an answer that is written a piece at a time, because the mail
 * that leaves meanwhile must not wait for it.
 *
 * Ownership  Whoever made it gives it to the connection, which frees it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/buf.h"

struct control_stream {
	/* Writes about work_max units of it, perhaps nothing; between two calls it stands where a blank may. False: that was all. */
	bool (*next)(struct control_stream *stream, unsigned work_max, struct now now, struct buf *out);
	void (*free)(struct control_stream *stream);
};

static inline void control_stream_free(struct control_stream *stream) { if (stream) stream->free(stream); }
