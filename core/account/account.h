/*
 * account - one line for each ended attempt: PowerMTA's accounting fields as CSV
 * (RFC 4180), so that the tools which operators have keep working.
 *
 * Ownership  open/close. A record is borrowed for the call.
 * Threads    account_write(), account_flush(), account_reopen(), account_lost(), account_trouble(): any. One lock, held while a line
 *            is formatted and now and then written. A sink's: one at a time.
 * Time       Records bring their own; what is said in the log once a minute goes
 *            by the log's clock.
 * Limits     64 KiB are gathered before they are written, or what there is at
 *            account_flush(). While the file takes nothing, 1 MiB is held, and
 *            records beyond that are lost and counted.
 * Errors     None that could stop a delivery, or on a full disk a start: the log tells of failed
 *            writes and how many records they cost. A line is in the file whole or not at all.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/buf.h"
#include "util/err.h"
#include "util/log.h"
#include "util/span.h"

enum account_type {
	ACCOUNT_DELIVERED,      /* d */
	ACCOUNT_BOUNCED,        /* b */
	ACCOUNT_DEFERRED,       /* t: a recipient waits for a retry */
	ACCOUNT_QUEUE,          /* tq: an attempt failed before any recipient was named */
	ACCOUNT_RECEIVED,       /* r */
};

#define ACCOUNT_MASK(type)  (1u << (type))
#define ACCOUNT_MASK_ALL    0x1fu

/* Empty spans are empty fields. */
struct account_record {
	enum account_type type;
	wall_ms_t   logged;             /* timeLogged */
	wall_ms_t   queued;             /* timeQueued; 0: empty */
	struct span orig, rcpt, orcpt;
	struct span status;             /* "5.1.1": dsnStatus is that and what it means in brackets */
	struct span diag;               /* the reply as one line: dsnDiag is "smtp;" and that */
	struct span category;           /* bounceCat; empty: as status and diag say */
	struct span mta;                /* dsnMta: "mx.example.com (192.0.2.1)" */
	struct span src_type, src_mta;
	struct span source_ip, destination_ip;
	struct span esmtp;              /* dlvEsmtpAvailable: "PIPELINING,8BITMIME" */
	uint64_t    size_bytes;         /* dlvSize; written for d, b and t */
	struct span vmta, job, env_id, queue, pool;
};

struct account;

extern const char account_header[];             /* the fields' names, as the file's first line */
/* One line of CSV onto *out. */
void account_format(const struct account_record *record, struct buf *out);

/* A sink takes every record as it is: no file. */
struct account *account_open_sink(void (*sink)(void *ctx, const struct account_record *record), void *ctx);

/* mask: of ACCOUNT_MASK(); other records are passed over. The log must outlive it. An
 * unfinished last line, as a power cut leaves, is cut off. */
struct account *account_open(const char *path, unsigned mask, struct log *log, struct err *err);
void account_write(struct account *account, const struct account_record *record);
/* fn is called when account_flush() is to be called soon, and then some times a second until that says false: by whoever
 * writes a record, under the lock, so it must not call back here. At most once between two such ends. Before the first record. */
void account_on_record(struct account *account, void (*fn)(void *ctx), void *ctx);
/* False: nothing has come since the last time, and nothing is held back. */
bool account_flush(struct account *account);
/* After the file was moved away: what is held goes to the old one, then the path is opened
 * anew. False: the old file stays in use. */
bool account_reopen(struct account *account, struct err *err);
void account_close(struct account *account);
uint64_t account_lost(struct account *account);   /* records, since open */
/* True: the file took nothing when it was last asked; *err says why. */
bool account_trouble(struct account *account, struct err *err);

/* bounceCat, one of PowerMTA's: "bad-mailbox", "quota-issues", …, "other". status "5.1.1" or
 * empty, text the reply. */
const char *account_bounce_category(struct span status, struct span text);
/* What a status means (RFC 3463 and its registry): "5.1.1": "bad destination mailbox address". */
const char *account_status_text(struct span status);
