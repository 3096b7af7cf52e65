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
