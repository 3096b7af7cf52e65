/*
 * log - lines for the operator.
 *
 * A line is `2026-01-02T03:04:05.678Z level text`; control characters in the
 * text are written as \xHH, so what a peer said cannot forge a line. For a
 * journal each begins with its rank, `<6>`, as syslog counts them (sd-daemon(3)).
 *
 * Threads    Any; a line is one write().
 * Time       The caller's struct log holds a clock function, so a simulated
 *            world stamps simulated time.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

#define LOG_LINE_MAX 2064u      /* bytes, with all that is around the text */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log {
	enum log_level level;           /* what is below is dropped */
	wall_ms_t    (*wall)(void *ctx);
	void          *wall_ctx;
	void         (*sink)(void *ctx, const char *line, size_t n);    /* with its \n */
	void          *sink_ctx;
	bool           ranked;          /* for a journal */
};

void log_line(struct log *log, enum log_level level, const char *format, ...)
	PRINTF_LIKE(3, 4);
#define log_debug(log, ...)   log_line(log, LOG_DEBUG, __VA_ARGS__)
#define log_info(log, ...)    log_line(log, LOG_INFO, __VA_ARGS__)
#define log_warning(log, ...) log_line(log, LOG_WARNING, __VA_ARGS__)
#define log_error(log, ...)   log_line(log, LOG_ERROR, __VA_ARGS__)

/* Without time and level: what a person who starts the node reads first. */
void log_bare(struct log *log, enum log_level level, const char *format, ...) PRINTF_LIKE(3, 4);

void log_sink_stderr(void *ctx, const char *line, size_t n);    /* a sink; ctx unused */

/* RFC 3339 in UTC with milliseconds, into `out` of at least 32 bytes. */
void wall_format(wall_ms_t wall, char out[32]);
/* "Sat, 22 Nov 2026 10:11:12 +0000" (RFC 5322), into at least 40 bytes. */
void wall_format_mail(wall_ms_t wall, char out[40]);
