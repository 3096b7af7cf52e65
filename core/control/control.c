/*
 * A peer is a connection and what it has sent so far. It is served one request
 * after the other, and only while it takes what it is told: with more than
 * OUTPUT_MAX unsent it is not read, so that neither a listing of a large node
 * nor a client that asks and never listens grows our memory.
 *
 * The timer runs from the last sign of life: bytes from the peer, or bytes it
 * took. A peer that breaks the protocol (no JSON, an endless line, half a line
 * and silence) hears why and is closed; a request that merely fails keeps the
 * connection.
 *
 * Half a line and an orderly close still gets its answer: the peer may have
 * closed only its sending side.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include "control/control_answers.h"
#include "control/control_commands.h"
#include "control/control_swap.h"
#include "control/control_trace.h"

#define ASKERS_MAX   16u
#define SILENCE_US  (30 * US_PER_S)
#define OUTPUT_MAX  (256u * 1024u)
#define WORK_A_TURN 128u

struct control {
	struct shards   *shards;
	struct shard    *shard;         /* the first, which has the socket */
	struct listener *listener;
	struct list      peers;
	unsigned         peers_n;
	control_swap_fn *on_swap;       /* NULL: this node cannot */
	void            *swap_ctx;
};

struct peer {
	struct control *control;
	struct list     node;
	struct conn    *conn;
	struct buf      in;
	struct timer    silence;
	struct control_stream *stream;  /* being written; NULL: none */
	struct control_trace  *trace;   /* for as long as the peer stays; NULL: none */
	struct control_later  *later;   /* it waits for this answer; NULL: for none */
	bool            asking;         /* the answer may come from within */
};

struct control_later {
	struct peer *peer;              /* NULL: it is gone */
};

static void
peer_free(struct peer *peer)
{
	timer_stop(&peer->control->shard->loop->timers, &peer->silence);
	list_remove(&peer->node);
	peer->control->peers_n--;
	shards_halt(peer->control->shards);
	control_stream_free(peer->stream);
	control_trace_stop(peer->trace);
	shards_resume(peer->control->shards);
	conn_close(peer->conn);
	if (peer->later)
		peer->later->peer = NULL;
	buf_fini(&peer->in);
	free(peer);
}

static void
tell(struct conn *conn, const char *text)
{
	struct buf out;

	buf_init(&out, 0);
	control_answer_error(text, &out);
	conn_write(conn, buf_span(&out));
	buf_fini(&out);
}

/* The peer is gone after this. */
static void
refuse(struct peer *peer, const char *text)
{
	tell(peer->conn, text);
	peer_free(peer);
}

static void
lives(struct peer *peer)
{
	struct loop *loop = peer->control->shard->loop;

	if (peer->trace == NULL)
		timer_start(&loop->timers, &peer->silence, loop_now(loop).mono + SILENCE_US);
}

static void
on_silence(void *ctx, struct now now)
{
	refuse(ctx, "30 seconds of silence");
}

static void
go_on_streaming(struct peer *peer)
{
	struct buf out;

	buf_init(&out, 0);
	shards_halt(peer->control->shards);
	if (!peer->stream->next(peer->stream, WORK_A_TURN, loop_now(peer->control->shard->loop), &out)) {
		control_stream_free(peer->stream);
		peer->stream = NULL;
	}
	shards_resume(peer->control->shards);
	/* The next piece is asked for when this one was taken, and of nothing nothing is: a blank is JSON, too. */
	if (buf_len(&out) == 0)
		buf_add_char(&out, ' ');
	conn_write(peer->conn, buf_span(&out));
	buf_fini(&out);
}

static bool
ask_to_swap(struct peer *peer, const struct control_request *request, struct err *err)
{
	struct control *control = peer->control;
	struct control_swap asked;
	struct control_later *later;

	if (!control->on_swap)
		return err_set(err, ERR_PERM, "this node cannot swap its policy");
	if (!control_swap_parse(request, &asked, err))
		return false;
	later = mem_alloc(sizeof(*later));
	later->peer = peer;
	peer->later = later;
	/* The work may take longer than a silence is borne. */
	timer_stop(&control->shard->loop->timers, &peer->silence);
	peer->asking = true;
	control->on_swap(control->swap_ctx, &asked, later);
	peer->asking = false;
	return true;
}

/* From now on the peer only listens, however long nothing is said. */
static bool
start_trace(struct peer *peer, const struct control_request *request, struct err *err)
{
	struct control *control = peer->control;

	if (!control_command_fits(request, err))
		return false;
	peer->trace = control_trace_start(control->shards, peer->conn, request, err);
	if (peer->trace != NULL)
		timer_stop(&control->shard->loop->timers, &peer->silence);
	return peer->trace != NULL;
}

static void
run_command(struct peer *peer, const struct control_request *request)
{
	struct err err = { 0 };
	struct buf out;

	buf_init(&out, 0);
	if (!control_command(peer->control->shards, request, &out, &peer->stream, &err))
		control_answer_error(err.text, &out);
	conn_write(peer->conn, buf_span(&out));
	buf_fini(&out);
}

/* False: the peer is to be refused, as *err says. */
static bool
dispatch(struct peer *peer, const struct control_request *request, struct err *err)
{
	if (!strcmp(request->command, "swap")) {
		if (!ask_to_swap(peer, request, err))
			tell(peer->conn, err->text);
		return true;
	}
	if (!strcmp(request->command, "trace") && peer->trace == NULL)
		return start_trace(peer, request, err);
	run_command(peer, request);
	return true;
}

/* False: the peer was refused. */
static bool
answer(struct peer *peer, struct span line)
{
	struct control_request request;
	struct err err = { 0 };
	bool stays;

	stays = control_request_parse(line, &request, &err);
	if (stays) {
		shards_halt(peer->control->shards);
		stays = dispatch(peer, &request, &err);
		shards_resume(peer->control->shards);
		control_request_fini(&request);
	}
	if (!stays)
		refuse(peer, err.text);
	return stays;
}

/* One whole line at the front of what came. False: the peer was refused. */
static bool
answer_next(struct peer *peer, bool *none_out)
{
	struct span in = buf_span(&peer->in);
	size_t end = span_find(in, '\n');
	bool alive = true;

	*none_out = end == SIZE_MAX;
	if (min_i64((int64_t)in.n, *none_out ? INT64_MAX : (int64_t)end) > CONTROL_REQUEST_MAX) {
		refuse(peer, "a request may have 65536 bytes");
		return false;
	}
	if (*none_out)
		return true;
	if (span_trim(span_first(in, end)).n)
		alive = answer(peer, span_first(in, end));
	if (alive)
		buf_consume(&peer->in, end + 1);
	return alive;
}

static void
serve(struct peer *peer)
{
	bool none = false;

	while (!none && !peer->later && conn_pending(peer->conn) < OUTPUT_MAX) {
		if (peer->stream) {
			go_on_streaming(peer);
			break;          /* the next piece when this one was taken */
		}
		if (!answer_next(peer, &none))
			return;
	}
	conn_pause(peer->conn, !none);
}

void
control_answer_later(struct control_later *later, struct span result, const char *error)
{
	struct peer *peer = later->peer;

	free(later);
	if (!peer)
		return;
	peer->later = NULL;
	if (result.n > 0) {
		conn_write(peer->conn, SPAN("{\"ok\":true,\"result\":"));
		conn_write(peer->conn, result);
		conn_write(peer->conn, SPAN("}\n"));
	} else {
		tell(peer->conn, error);
	}
	lives(peer);
	if (!peer->asking)
		serve(peer);
}

void
control_on_swap(struct control *control, control_swap_fn *fn, void *ctx)
{
	control->on_swap = fn;
	control->swap_ctx = ctx;
}

static void
on_data(void *ctx, struct span data)
{
	struct peer *peer = ctx;

	if (!peer->later)
		lives(peer);
	buf_add(&peer->in, data);
	serve(peer);
}

static void
on_drained(void *ctx)
{
	struct peer *peer = ctx;

	if (!peer->later)
		lives(peer);
	serve(peer);
}

static void
on_close(void *ctx, const struct err *err)
{
	struct peer *peer = ctx;

	if (!err && !peer->stream && buf_len(&peer->in))
		refuse(peer, "a request ends with a line feed");
	else
		peer_free(peer);
}

static const struct conn_events peer_events = {
	.on_data = on_data,
	.on_drained = on_drained,
	.on_close = on_close,
};

/* For a conn that is closed before it returns from on_accept. */
static void
on_nothing(void *ctx, struct span data)
{
}

static void
on_nothing_closed(void *ctx, const struct err *err)
{
}

static const struct conn_events no_events = { .on_data = on_nothing, .on_close = on_nothing_closed };

static void
turn_away(struct conn *conn, const char *text)
{
	conn->events = &no_events;
	tell(conn, text);
	conn_close(conn);
}

static void
on_accept(void *ctx, struct conn *conn)
{
	struct control *control = ctx;
	struct peer *peer;

	if (conn->peer_uid != 0 && conn->peer_uid != geteuid()) {
		turn_away(conn, "only root and the user who runs the node are answered");
		return;
	}
	if (control->peers_n >= ASKERS_MAX) {
		turn_away(conn, "too many control connections (16 at most)");
		return;
	}
	peer = mem_alloc(sizeof(*peer));
	peer->control = control;
	peer->conn = conn;
	buf_init(&peer->in, 0);
	timer_init(&peer->silence, on_silence, peer);
	list_add_tail(&control->peers, &peer->node);
	control->peers_n++;
	conn->events = &peer_events;
	conn->ctx = peer;
	lives(peer);
}

struct control *
control_open(struct shards *shards, const char *path, struct err *err)
{
	struct control *control = mem_alloc(sizeof(*control));

	control->shards = shards;
	control->shard = shards->all[0];
	list_init(&control->peers);
	control->listener = net_listen_unix(control->shard->net, path, on_accept, control, err);
	if (control->listener)
		return control;
	free(control);
	return NULL;
}

struct listener *
control_listen(struct control *control, const char *path, struct err *err)
{
	return net_listen_unix(control->shard->net, path, on_accept, control, err);
}

void
control_move(struct control *control, struct listener *listener)
{
	listener_close(control->shard->net, control->listener);
	control->listener = listener;
}

void
control_close(struct control *control)
{
	if (!control)
		return;
	listener_close(control->shard->net, control->listener);
	list_each_safe(node, &control->peers)
		peer_free(list_entry(node, struct peer, node));
	free(control);
}
