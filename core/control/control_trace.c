/*
 * Nothing is kept: a line is formatted when it is said and given to the conn, or
 * dropped. A conn that fell behind and has caught up is first told how many it
 * missed.
 *
 * Each shard has an ear of its own, which chooses and formats where the line was
 * said; only what is wanted is posted to the first shard, who has the conn.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_trace.h"

#include <stdatomic.h>

#include "control/control_answers.h"
#include "mail/domain.h"
#include "queue/queue_hand.h"

struct ear {                            /* of one shard */
	struct trace_listener listener;
	struct control_trace *trace;
	struct shard         *shard;
	atomic_size_t         posted;   /* bytes on their way */
};

struct control_trace {
	struct shards *shards;
	struct ear    *ears;            /* of each */
	struct conn   *conn;
	char          *queue, *to, *inbound;    /* NULL: any */
	atomic_uint_fast64_t dropped;
};

struct heard {                          /* a line on its way to the first shard */
	struct loop_call call;
	struct ear      *ear;
	struct buf       line;
};

static bool
wanted(const struct control_trace *trace, const struct trace_session *session)
{
	if (trace->queue != NULL &&
	    (session->queue == NULL || !queue_pattern_matches(span_text(trace->queue), span_text(session->queue))))
		return false;
	if (trace->to != NULL && (session->domain == NULL || strcmp(trace->to, session->domain) != 0))
		return false;
	return trace->inbound == NULL || (session->listener != NULL && strcmp(session->listener, trace->inbound) == 0);
}

static json_t *
text_of(struct span line)
{
	char text[CONTROL_TRACE_LINE_MAX + 1];

	snprintf(text, sizeof text, "%.*s", (int)min_i64((int64_t)line.n, CONTROL_TRACE_LINE_MAX), line.p);
	return control_answer_text(text);
}

/* In the first shard. */
static void
write_lines(struct control_trace *trace, struct span lines)
{
	uint64_t dropped;
	struct buf out;

	if (conn_pending(trace->conn) > CONTROL_TRACE_BEHIND_MAX) {
		atomic_fetch_add(&trace->dropped, 1);
		return;
	}
	dropped = atomic_exchange(&trace->dropped, 0);
	if (dropped > 0) {
		buf_init(&out, 0);
		control_answer_ok(json_pack("{s:I}", "dropped", (json_int_t)dropped), &out);
		conn_write(trace->conn, buf_span(&out));
		buf_fini(&out);
	}
	conn_write(trace->conn, lines);
}

static void
on_heard(void *ctx)
{
	struct heard *heard = ctx;

	atomic_fetch_sub(&heard->ear->posted, buf_len(&heard->line));
	write_lines(heard->ear->trace, buf_span(&heard->line));
	buf_fini(&heard->line);
	free(heard);
}

static void
post_line(struct ear *ear, struct buf *line)
{
	struct heard *heard = mem_alloc(sizeof *heard);

	*heard = (struct heard){ .call = { .fn = on_heard, .ctx = heard }, .ear = ear, .line = *line };
	atomic_fetch_add(&ear->posted, buf_len(line));
	peers_post(ear->trace->shards->peers, ear->shard->me, 0, &heard->call);
}

static void
format_line(const struct ear *ear, const struct trace_session *session, enum trace_who who, struct span line, struct buf *out)
{
	static const char *const names[] = { [TRACE_WE] = "we", [TRACE_THEY] = "they", [TRACE_EVENT] = "event" };
	char at[32];

	wall_format(loop_now(ear->shard->loop).wall, at);
	control_answer_ok(json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "session", (json_int_t)session->number, "at", at,
				    "who", names[who], "line", text_of(line), "queue", control_answer_text(session->queue),
				    "domain", control_answer_text(session->domain), "listener", control_answer_text(session->listener),
				    "peer", control_answer_text(session->peer)), out);
}

static void
on_line(void *ctx, const struct trace_session *session, enum trace_who who, struct span line)
{
	struct ear *ear = ctx;
	struct control_trace *trace = ear->trace;
	struct buf out;

	if (!wanted(trace, session))
		return;
	if (ear->shard->me == 0 ? conn_pending(trace->conn) > CONTROL_TRACE_BEHIND_MAX
				: atomic_load(&ear->posted) > CONTROL_TRACE_BEHIND_MAX) {
		atomic_fetch_add(&trace->dropped, 1);
		return;
	}
	buf_init(&out, 0);
	format_line(ear, session, who, line, &out);
	if (ear->shard->me != 0) {
		post_line(ear, &out);
		return;
	}
	write_lines(trace, buf_span(&out));
	buf_fini(&out);
}

static bool
is_declared(const struct shard *shard, const char *listener, struct err *err)
{
	const struct ruleset *ruleset = shard->queues->o.ruleset;

	for (unsigned i = 0; i < ruleset->listeners_n; i++)
		if (strcmp(ruleset->listeners[i].name, listener) == 0)
			return true;
	return err_set(err, ERR_PERM, "no such listener: %.100s%s%s", listener, ruleset->listeners_n ? "; declared: " : "",
		       ruleset->listeners_n ? ruleset->listeners[0].name : "");
}

static char *
copy(const struct control_request *request, const char *name)
{
	const char *value = control_request_option(request, name);

	return value != NULL ? mem_strdup(value) : NULL;
}

static void
listen_everywhere(struct control_trace *trace)
{
	trace->ears = mem_alloc(trace->shards->n * sizeof *trace->ears);
	for (unsigned i = 0; i < trace->shards->n; i++) {
		struct ear *ear = &trace->ears[i];

		ear->trace = trace;
		ear->shard = trace->shards->all[i];
		ear->listener = (struct trace_listener){ .fn = on_line, .ctx = ear };
		trace_add(&ear->shard->trace, &ear->listener);
	}
}

struct control_trace *
control_trace_start(struct shards *shards, struct conn *conn, const struct control_request *request, struct err *err)
{
	const char *listener = control_request_option(request, "listener"), *to = control_request_option(request, "to");
	struct control_trace *trace;
	char domain[DOMAIN_MAX];

	if (listener != NULL && !is_declared(shards->all[0], listener, err))
		return NULL;
	if (to != NULL && !domain_normalize(span_text(to), domain, err)) {
		err_prefix(err, "trace: to: ");
		return NULL;
	}
	trace = mem_alloc(sizeof *trace);
	trace->shards = shards;
	trace->conn = conn;
	trace->queue = copy(request, "queue");
	trace->to = to != NULL ? mem_strdup(domain) : NULL;
	trace->inbound = copy(request, "listener");
	listen_everywhere(trace);
	return trace;
}

void
control_trace_stop(struct control_trace *trace)
{
	if (trace == NULL)
		return;
	for (unsigned i = 0; i < trace->shards->n; i++)
		trace_remove(&trace->ears[i].listener);
	free(trace->ears);
	free(trace->queue);
	free(trace->to);
	free(trace->inbound);
	free(trace);
}
