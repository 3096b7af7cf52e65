/*
 * smtp_path - addresses as they stand in MAIL and RCPT (RFC 5321, 4.1.2; RFC 6531).
 *
 * "user@example.com", quoted local parts, address literals ([192.0.2.1],
 * [IPv6:…]), UTF-8. Source routes (<@a,@b:user@c>) are taken off.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

#define SMTP_PATH_MAX  254              /* RFC 5321, errata 1690 */

struct smtp_path {
	struct span whole;      /* "user@example.com": points into the input */
	struct span local;      /* with its quotes */
	struct span domain;     /* with its brackets if a literal; empty for the null path and <postmaster> */
	bool        utf8;       /* holds a byte over 127: SMTPUTF8 is needed */
};

/* Parses "<…>" at the front of *in and takes it off; NULL, or what is wrong in a few words. */
const char *smtp_path_parse(struct span *in, bool null_ok, struct smtp_path *out);
/* The same for a bare address without angle brackets; the whole of `text`. */
const char *smtp_path_parse_bare(struct span text, struct smtp_path *out);
bool smtp_xtext_ok(struct span text);                   /* RFC 3461, 4 */
/* Decodes xtext into out (at least text.n bytes); returns the length. */
size_t smtp_xtext_decode(struct span text, char *out);
bool smtp_domain_ok(struct span domain);                /* LDH labels or UTF-8, at most 255; no literal */
