/*
 * smtp_command - what a client says: the verb, and the arguments of those
 * commands that have some (RFC 5321, 4.1.1; 1870, 3030, 3461, 6152, 6531).
 *
 * Ownership  Spans point into the line.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_path.h"

enum smtp_verb {
	SMTP_VERB_UNKNOWN,
	SMTP_VERB_HELO,
	SMTP_VERB_EHLO,
	SMTP_VERB_MAIL,
	SMTP_VERB_RCPT,
	SMTP_VERB_DATA,
	SMTP_VERB_BDAT,
	SMTP_VERB_RSET,
	SMTP_VERB_NOOP,
	SMTP_VERB_QUIT,
	SMTP_VERB_VRFY,
	SMTP_VERB_EXPN,
	SMTP_VERB_HELP,
	SMTP_VERB_STARTTLS,
	SMTP_VERB_AUTH,
	SMTP_VERB_HTTP,         /* a request line of another protocol */
};

/* *args_out: what follows the verb, trimmed. */
enum smtp_verb smtp_verb_parse(struct span line, struct span *args_out);

/* What to answer to a command that is not well-formed; code 0: it is. */
struct smtp_refusal {
	unsigned    code;
	const char *text;       /* begins with the enhanced code */
};

struct smtp_mail {
	struct smtp_path path;
	uint64_t         size_bytes;
	bool             eightbit, smtputf8;
	struct span      envid, ret;
};

struct smtp_rcpt {
	struct smtp_path path;
	struct span      orcpt;
	uint8_t          notify;        /* enum smtp_notify bits */
};

struct smtp_refusal smtp_mail_parse(struct span args, struct smtp_mail *out);
/* smtputf8: MAIL said it. */
struct smtp_refusal smtp_rcpt_parse(struct span args, bool smtputf8, struct smtp_rcpt *out);
bool smtp_bdat_parse(struct span args, uint64_t *size_out, bool *last_out);
bool smtp_helo_ok(struct span name);
/* "rfc822;user+40example.com": type and xtext; UTF-8 where `utf8` (RFC 6533). */
bool smtp_orcpt_ok(struct span orcpt, bool utf8);
bool smtp_envid_ok(struct span envid);
