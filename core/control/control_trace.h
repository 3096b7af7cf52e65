/*
 * control_trace - the dialogue of live sessions, written to one control
 * connection: an answer a line, until the peer leaves.
 *
 *   {"session":7,"at":"…","who":"we"|"they"|"event","line":"…","queue":…,"domain":…,"listener":…,"peer":…}
 *   {"dropped":12}     so many lines the peer was too slow for
 *
 * Ownership  start/stop; the conn is borrowed.
 * Threads    The first shard's, while all stand still; what sessions of the others say comes by mail.
 * Limits     What the peer has not taken is at most CONTROL_TRACE_BEHIND_MAX: beyond it lines are
 *            dropped and counted, so a slow reader costs the node nothing. As much may be under way
 *            from each other shard.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control_request.h"
#include "shards.h"

#define CONTROL_TRACE_BEHIND_MAX (256u * 1024u)
#define CONTROL_TRACE_LINE_MAX   1000           /* bytes of a line that are told */

struct control_trace;

/* Options: to (a domain), queue (a pattern), listener. ERR_PERM: a listener that is not declared, a domain that is none. */
struct control_trace *control_trace_start(struct shards *shards, struct conn *conn, const struct control_request *request,
					  struct err *err);
void control_trace_stop(struct control_trace *trace);
