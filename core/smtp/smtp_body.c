/*
 * Every byte of every message passes here, so it jumps: to the next CR, with a
 * look for LF in between, and one look for NUL over all that was passed. These
 * are memchr(), which compares 32 bytes an instruction; a state machine spends
 * several instructions a byte.
 *
 * What is found first in the stream decides, however the stream was cut, so
 * the answer does not depend on how the peer's packets fell.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_body.h"

/* Moves *at to the end of the line it is in, or to what stops there. */
static enum smtp_body_stop
scan_line(const char **at, const char *end, unsigned *line)
{
	const char *p = *at, *cr, *lf;
	size_t left = (size_t)(end - p), room = SMTP_BODY_LINE_MAX - *line;
	size_t n = left <= room ? left : room + 1, len;

	cr = memchr(p, '\r', n);
	len = cr ? (size_t)(cr - p) : n;
	lf = memchr(p, '\n', len);
	if (lf) {
		*at = lf;
		return SMTP_BODY_BARE_LF;
	}
	if (len > room) {
		*at = p + room;
		return SMTP_BODY_LONG;
	}
	*line += (unsigned)len;
	*at = p + len;
	if (!cr || cr + 1 == end)
		return SMTP_BODY_MORE;
	if (cr[1] != '\n')
		return SMTP_BODY_BARE_CR;
	*line = 0;
	*at = cr + 2;
	return SMTP_BODY_MORE;
}

enum smtp_body_stop
smtp_body_scan(struct span in, unsigned *line, size_t *good_out)
{
	const char *p = in.p, *end = in.p + in.n, *nul;
	enum smtp_body_stop stop = SMTP_BODY_MORE;

	while (p < end && stop == SMTP_BODY_MORE) {
		if (*line == 0 && *p == '.') {
			stop = SMTP_BODY_DOT;
			break;
		}
		stop = scan_line(&p, end, line);
		if (p + 1 == end && *p == '\r')
			break;
	}
	nul = p > in.p ? memchr(in.p, '\0', (size_t)(p - in.p)) : NULL;
	if (nul) {
		stop = SMTP_BODY_NUL;
		p = nul;
	}
	*good_out = (size_t)(p - in.p);
	return stop;
}

/* To the next CR, of which it is known only with the byte behind it what it is. */
static bool
pass_line(struct smtp_body_guard *guard, struct span *rest)
{
	const char *cr = memchr(rest->p, '\r', rest->n);
	size_t len = cr ? (size_t)(cr - rest->p) : rest->n;

	if (memchr(rest->p, '\n', len) || memchr(rest->p, '\0', len))
		return false;
	guard->cr = cr != NULL;
	*rest = span_from(*rest, len + guard->cr);
	return true;
}

bool
smtp_body_may_go(struct smtp_body_guard *guard, struct span block)
{
	while (block.n > 0) {
		if (guard->cr) {
			if (block.p[0] != '\n')
				return false;
			*guard = (struct smtp_body_guard){ .cr = false };
			block = span_from(block, 1);
		} else if (!guard->in_line && block.p[0] == '.') {
			guard->in_line = guard->dot = true;
			block = span_from(block, 1);
		} else {
			if (guard->dot && block.p[0] == '\r')
				return false;
			guard->dot = false;
			guard->in_line = true;
			if (!pass_line(guard, &block))
				return false;
		}
	}
	return true;
}

bool
smtp_body_may_end(const struct smtp_body_guard *guard)
{
	return !guard->in_line && !guard->cr;
}
