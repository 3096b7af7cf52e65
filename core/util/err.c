/*
 * Filling a struct err. The text is cut rather than refused: half a reason is
 * better than none.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool
is_temporary(int sys)
{
	switch (sys) {
	case EAGAIN: case EINTR: case EBUSY:
	case ENOSPC: case EDQUOT: case ENOMEM: case ENOBUFS: case EMFILE: case ENFILE:
	case ECONNREFUSED: case ECONNRESET: case ECONNABORTED: case ENOTCONN: case EPIPE:
	case ETIMEDOUT: case EHOSTUNREACH: case EHOSTDOWN: case ENETUNREACH: case ENETDOWN:
	case ENETRESET: case EADDRINUSE: case EADDRNOTAVAIL: case EPROTO:
		return true;
	default:
		return false;
	}
}

bool
err_set(struct err *err, enum err_kind kind, const char *format, ...)
{
	if (!err)
		return false;
	va_list args;
	va_start(args, format);
	err->kind = kind;
	err->sys = 0;
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return false;
}

bool
err_sys(struct err *err, const char *format, ...)
{
	int sys = errno;
	if (!err)
		return false;
	va_list args;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	char why[100];
	size_t used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror_r(sys, why, sizeof(why)));
	err->kind = is_temporary(sys) ? ERR_TEMP : ERR_PERM;
	err->sys = sys;
	return false;
}

bool
err_prefix(struct err *err, const char *format, ...)
{
	if (!err)
		return false;
	char tail[sizeof(err->text)];
	memcpy(tail, err->text, sizeof(tail));
	va_list args;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	size_t used = strlen(err->text);
	size_t n = strnlen(tail, sizeof(tail) - 1);
	if (n > sizeof(err->text) - 1 - used)
		n = sizeof(err->text) - 1 - used;
	memcpy(err->text + used, tail, n);
	err->text[used + n] = '\0';
	return false;
}
