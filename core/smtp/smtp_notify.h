/*
 * smtp_notify - NOTIFY of RCPT: when the sender wants to hear (RFC 3461, 4.1).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

enum smtp_notify { SMTP_NOTIFY_NEVER = 1, SMTP_NOTIFY_SUCCESS = 2, SMTP_NOTIFY_FAILURE = 4, SMTP_NOTIFY_DELAY = 8 };

#define SMTP_NOTIFY_TEXT_MAX sizeof("SUCCESS,FAILURE,DELAY")

/* "NEVER", or a list of the others; the bits, or 0: not well-formed. */
uint8_t smtp_notify_parse(struct span text);
void smtp_notify_format(uint8_t bits, char out[SMTP_NOTIFY_TEXT_MAX]);
