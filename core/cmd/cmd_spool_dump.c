/*
 * `spool dump`: messages are written as they are found, so that a spool of millions needs
 * no more memory than a node that starts on it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_print.h"
#include "cmd/cmd_spool.h"
#include "control/control_answers.h"
#include "util/log.h"

#define READ_BYTES 65536u

struct dump {
	struct cmd_spool look;
	uint64_t id;                    /* 0: all */
	bool     json, body;
	uint64_t shown;
	const struct spool_message *message;    /* the one shown last */
};

static const char *const states[] = { "waiting", "delivered", "bounced", "dropped" };

static void
on_finding(void *ctx, const struct spool_finding *finding)
{
	struct buf text;

	if (!finding->damage)
		return;
	buf_init(&text, 0);
	cmd_spool_finding_text(finding, &text);
	fprintf(stderr, "sluice: %.*s", SPAN_ARG(buf_span(&text)));
	buf_fini(&text);
}

static const char *
text_of(struct dump *it, struct span s)
{
	return arena_strndup(&it->look.arena, s.p, s.n);
}

static json_t *
text_or_null(struct dump *it, struct span s)
{
	return s.n ? control_answer_text(text_of(it, s)) : json_null();
}

static json_t *
rcpts_json(struct dump *it, const struct cmd_spool_message *shown)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < shown->found->rcpts_n; i++) {
		const struct spool_rcpt_state *state = &shown->found->rcpts[i];
		char due[32];

		wall_format(state->due, due);
		json_array_append_new(all, json_pack("{s:o, s:s, s:i, s:o}",
			"recipient", control_answer_text(text_of(it, shown->envelope->rcpts[i].address)), "state", states[state->outcome],
			"attempts", (int)state->attempts, "due", state->due.ms ? json_string(due) : json_null()));
	}
	return all;
}

static void
print_as_json(struct dump *it, const struct cmd_spool_message *shown, const char *id, const char *received, const char *file)
{
	const struct envelope *envelope = shown->envelope;
	json_t *one = json_pack("{s:s, s:s, s:I, s:s, s:I, s:o, s:o, s:o, s:o}", "message", id, "received", received,
		"size", (json_int_t)shown->found->size_bytes, "file", file, "at", (json_int_t)shown->found->at,
		"sender", control_answer_text(text_of(it, envelope->sender)), "vmta", text_or_null(it, envelope->vmta),
		"job", text_or_null(it, envelope->job), "recipients", rcpts_json(it, shown));

	fputs(it->shown ? ",\n" : "[\n", stdout);
	json_dumpf(one, stdout, JSON_COMPACT | cmd_json_flags());
	json_decref(one);
}

static void
print_as_text(struct dump *it, const struct cmd_spool_message *shown, const char *id, const char *received, const char *file)
{
	struct buf out;

	buf_init(&out, 0);
	buf_printf(&out, "%s  %s  %llu bytes  %s:%llu  <", id, received, (unsigned long long)shown->found->size_bytes, file,
		   (unsigned long long)shown->found->at);
	cmd_add_clean(&out, text_of(it, shown->envelope->sender), 0);
	buf_add_text(&out, ">\n");
	for (unsigned i = 0; i < shown->found->rcpts_n; i++) {
		const struct spool_rcpt_state *state = &shown->found->rcpts[i];
		char due[32];

		buf_printf(&out, "  %-9s  %5u tries  ", states[state->outcome], state->attempts);
		cmd_add_clean(&out, text_of(it, shown->envelope->rcpts[i].address), 0);
		wall_format(state->due, due);
		if (state->outcome == SPOOL_WAITING && state->due.ms)
			buf_printf(&out, "  not before %s", due);
		buf_add_char(&out, '\n');
	}
	cmd_print_text(&out);
	buf_fini(&out);
}

static void
on_message(void *ctx, const struct cmd_spool_message *shown)
{
	struct dump *it = ctx;
	char id[17], received[32], file[24];

	if (it->id && it->id != shown->found->id)
		return;
	it->message = shown->message;
	envelope_id_format(shown->found->id, id);
	wall_format(shown->envelope->received, received);
	cmd_spool_file(shown->found->segment, file);
	if (it->json)
		print_as_json(it, shown, id, received, file);
	else if (!it->body)
		print_as_text(it, shown, id, received, file);
	it->shown++;
}

static bool
print_body(struct dump *it, struct err *err)
{
	struct spool_reader reader;
	struct span bytes;
	struct buf room;
	bool done = false;

	if (!spool_read_open(it->look.spool, it->message, &reader, err))
		return false;
	buf_init(&room, 0);
	while (!done && spool_read_next(&reader, READ_BYTES, &room, &bytes, &done, err))
		fwrite(bytes.p, 1, bytes.n, stdout);
	buf_fini(&room);
	spool_read_close(&reader);
	return done;
}

static bool
id_parse(const char *text, uint64_t *out)
{
	char again[17];

	*out = strlen(text) == 16 ? strtoull(text, NULL, 16) : 0;
	envelope_id_format(*out, again);
	return *out && !strcasecmp(again, text);
}

static bool
dump_all(struct dump *it, const char *folder, const char *id, struct err *err)
{
	if (!cmd_spool_open(&it->look, folder, err))
		return false;
	if (id && !it->shown)
		return err_set(err, ERR_PERM, "no such message waits there: %s", id);
	return !it->body || print_body(it, err);
}

int
cmd_spool_dump(const char *folder, const char *id, bool json, bool body)
{
	struct dump it = { .json = json, .body = body, .look = { .on_message = on_message, .on_finding = on_finding } };
	struct err err = { 0 };
	bool ok;

	if (id && !id_parse(id, &it.id))
		return cmd_misused(&cmd_spool, "a message's id is 16 digits from 0 to F");
	it.look.ctx = &it;
	ok = dump_all(&it, folder, id, &err);
	if (json && (ok || it.shown))
		puts(it.shown ? "\n]" : "[]");
	cmd_spool_close(&it.look);
	return ok ? EXIT_DONE : cmd_failed("%s", err.text);
}
