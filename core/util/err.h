/*
 * err - operating trouble as a value.
 *
 * Ownership  The caller owns the struct; nothing in it is allocated.
 * Errors     Lower layers fill it, one edge logs it; never both. A NULL err is
 *            allowed everywhere: the caller wants only the yes or no.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

enum err_kind {
	ERR_NONE,
	ERR_TEMP,       /* worth a 4xx: try again later */
	ERR_PERM,       /* worth a 5xx: it will not get better by waiting */
};

struct err {
	enum err_kind kind;
	int           sys;      /* errno, or 0 */
	char          text[300];
};

/* All return false, so that a failure is one line: return err_set(err, …). */
bool err_set(struct err *err, enum err_kind kind, const char *format, ...)
	PRINTF_LIKE(3, 4);
/* Takes errno; the text gets ": " and strerror behind it. ENOSPC, EAGAIN,
 * EMFILE and the network's errors are ERR_TEMP, the rest ERR_PERM. */
bool err_sys(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);
bool err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);
