/*
 * smtp_text - characters: what may stand in a line of SMTP, and what is made
 * of bytes that may not when they must be shown.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

/* Length of the UTF-8 sequence (RFC 3629) at the front, 1 to 4; 0: there is none. */
size_t smtp_text_utf8(struct span s);
/* The same, of a control character: C0, DEL, C1, and what ends a line or turns its direction round. */
size_t smtp_text_control(struct span s);
/* The same, of any other character. */
size_t smtp_text_shown(struct span s);
/* Only printable ASCII and blanks. */
bool smtp_text_printable(struct span s);
/* Copies what fits into out_max bytes, '?' in place of control characters (C1 and
 * those of direction too) and of what is not UTF-8; cuts between characters. Returns the length. */
size_t smtp_text_clean(struct span s, char *out, size_t out_max);
