/*
 * Nothing is kept: a line is formatted when it is said and given to the conn, or
 * dropped. A conn that fell behind and has caught up is first told how many it
 * missed.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_trace.h"

#include "control/control_answers.h"
#include "mail/domain.h"

struct control_trace {
	struct trace_listener listener;
	struct shard *shard;
	struct conn  *conn;
	char         *queue, *to, *inbound;     /* NULL: any */
	uint64_t      dropped;
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

static void
write_line(struct control_trace *trace, json_t *value)
{
	struct buf out;

	buf_init(&out, 0);
	control_answer_ok(value, &out);
	conn_write(trace->conn, buf_span(&out));
	buf_fini(&out);
}

static void
on_line(void *ctx, const struct trace_session *session, enum trace_who who, struct span line)
{
	static const char *const names[] = { [TRACE_WE] = "we", [TRACE_THEY] = "they", [TRACE_EVENT] = "event" };
	struct control_trace *trace = ctx;
	char at[32];

	if (!wanted(trace, session))
		return;
	if (conn_pending(trace->conn) > CONTROL_TRACE_BEHIND_MAX) {
		trace->dropped++;
		return;
	}
	if (trace->dropped > 0)
		write_line(trace, json_pack("{s:I}", "dropped", (json_int_t)trace->dropped));
	trace->dropped = 0;
	wall_format(loop_now(trace->shard->loop).wall, at);
	write_line(trace, json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "session", (json_int_t)session->number, "at", at,
				    "who", names[who], "line", text_of(line), "queue", control_answer_text(session->queue),
				    "domain", control_answer_text(session->domain), "listener", control_answer_text(session->listener),
				    "peer", control_answer_text(session->peer)));
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

struct control_trace *
control_trace_start(struct shard *shard, struct conn *conn, const struct control_request *request, struct err *err)
{
	const char *listener = control_request_option(request, "listener"), *to = control_request_option(request, "to");
	struct control_trace *trace;
	char domain[DOMAIN_MAX];

	if (listener != NULL && !is_declared(shard, listener, err))
		return NULL;
	if (to != NULL && !domain_normalize(span_text(to), domain, err)) {
		err_prefix(err, "trace: to: ");
		return NULL;
	}
	trace = mem_alloc(sizeof *trace);
	trace->shard = shard;
	trace->conn = conn;
	trace->queue = copy(request, "queue");
	trace->to = to != NULL ? mem_strdup(domain) : NULL;
	trace->inbound = copy(request, "listener");
	trace->listener = (struct trace_listener){ .fn = on_line, .ctx = trace };
	trace_add(&shard->trace, &trace->listener);
	return trace;
}

void
control_trace_stop(struct control_trace *trace)
{
	if (trace == NULL)
		return;
	trace_remove(&trace->listener);
	free(trace->queue);
	free(trace->to);
	free(trace->inbound);
	free(trace);
}
