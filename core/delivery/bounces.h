/*
 * bounces - recipients that are to be bounced, until they are: a verdict is
 * never taken back while the node runs.
 *
 * Ownership  One for a shard, made and ended with delivery. Each recipient here is
 *            SENDING and has no session.
 * Limits     So many recipients in a turn of the loop, so many bytes of reports
 *            on their way to the disk; the rest waits in memory.
 * Errors     A report that cannot be stored is tried again until it can.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "delivery/outcome.h"

struct bounces *bounces_new(struct shard *shard);
/* What is still to be bounced goes back to its queue: after a restart it is looked at again. */
void bounces_free(struct shard *shard);
/* No attempt is behind it, or none that is known any more. expired: a 4xx that no further attempt may follow. */
void bounces_add(struct shard *shard, struct rcpt *rcpt, const struct smtp_reply *reply, bool expired, struct now now);
/* A turn's share, now. */
void bounces_run(struct bounces *bounces, struct now now);

/* outcome.c, for bounces.c and bounces_report.c */
const struct smtp_reply *outcome_with_status(const struct smtp_reply *reply, struct smtp_reply *copy);
/* category NULL: as the reply says. */
void outcome_settle_bounced(struct shard *shard, const struct envelope *envelope, const struct outcome *outcome,
			    const char *category, const struct attempt *attempt, struct now now);
/* ERR_PERM: damaged. */
bool outcome_envelope(struct shard *shard, const struct message *message, struct spool_reader *reader, struct arena *arena,
		      struct envelope *envelope, struct err *err);
