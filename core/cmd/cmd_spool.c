/*
 * `spool check` and `spool dump`: a spool off line. The first says whether a start would
 * find all that it should; the second (cmd_spool_dump.c) what is in it.
 *
 * All comes from one look, which is what a start reads (spool/spool_look.c); envelopes
 * are decoded here, and bodies that stand in pieces read to their end, for the spool
 * knows neither what an envelope is nor which pieces a message needs.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_spool.h"

#include "cmd/cmd.h"
#include "cmd/cmd_print.h"
#include "control/control_answers.h"

#define READ_BYTES 65536u

/* ---- the look ---- */

static void
tell_progress(void *ctx, uint64_t done, uint64_t all)
{
	fprintf(stderr, "\rreading file %llu of %llu", (unsigned long long)done + 1, (unsigned long long)all);
}

static void
on_finding(void *ctx, const struct spool_finding *finding)
{
	struct cmd_spool *look = ctx;

	look->on_finding(look->ctx, finding);
}

void
cmd_spool_file(uint64_t segment, char out[24])
{
	snprintf(out, 24, "%016llx.seg", (unsigned long long)segment);
}

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *found)
{
	struct cmd_spool *look = ctx;
	struct cmd_spool_message shown = { .found = found };
	struct spool_message *message;
	struct envelope envelope;

	arena_reset(&look->arena);
	if (!envelope_decode(found->meta, &look->arena, &envelope, NULL) || envelope.rcpts_n != found->rcpts_n)
		return NULL;
	message = arena_alloc(&look->kept, sizeof(*message));
	message->id = found->id;
	shown.message = message;
	shown.envelope = &envelope;
	look->on_message(look->ctx, &shown);
	return message;
}

bool
cmd_spool_open(struct cmd_spool *look, const char *folder, struct err *err)
{
	struct spool_look_options options = { .on_finding = on_finding, .on_progress = look->progress ? tell_progress : NULL, .ctx = look };
	struct spool_owner owner = { .on_recovered = on_recovered, .ctx = look };

	arena_init(&look->kept);
	arena_init(&look->arena);
	look->disk = disk_os_look(folder, err);
	look->spool = look->disk ? spool_look(look->disk, &options, &owner, &look->counts, err) : NULL;
	if (look->progress)
		fputs("\r\033[K", stderr);
	if (!look->spool)
		return false;
	return look->counts.segments > 0 || err_set(err, ERR_PERM, "%s holds no spool", folder);
}

void
cmd_spool_close(struct cmd_spool *look)
{
	spool_look_end(look->spool);
	disk_os_close(look->disk);
	arena_fini(&look->kept);
	arena_fini(&look->arena);
}

void
cmd_spool_finding_text(const struct spool_finding *finding, struct buf *out)
{
	cmd_add_clean(out, finding->file, 0);
	if (finding->to > finding->at)
		buf_printf(out, ": bytes %llu to %llu", (unsigned long long)finding->at, (unsigned long long)finding->to);
	else if (finding->to)
		buf_printf(out, ": byte %llu", (unsigned long long)finding->at);
	buf_printf(out, ": %s\n", finding->text);
}

/* ---- check ---- */

struct checked {
	struct cmd_spool look;
	struct buf text;                /* findings */
	json_t    *findings;
	uint64_t   damages, recipients;
	const struct spool_message **pieced;    /* whose bodies are yet to be read */
	struct { uint64_t segment, id; } *whose;
	size_t     pieced_n, pieced_cap;
};

static void
check_finding(void *ctx, const struct spool_finding *finding)
{
	struct checked *it = ctx;

	it->damages += finding->damage;
	cmd_spool_finding_text(finding, &it->text);
	json_array_append_new(it->findings, json_pack("{s:o, s:o, s:o, s:b, s:s}", "file", control_answer_text(finding->file),
		"at", finding->to ? json_integer((json_int_t)finding->at) : json_null(),
		"to", finding->to ? json_integer((json_int_t)finding->to) : json_null(), "damage", finding->damage, "text", finding->text));
}

static void
check_message(void *ctx, const struct cmd_spool_message *shown)
{
	struct checked *it = ctx;

	for (unsigned i = 0; i < shown->found->rcpts_n; i++)
		it->recipients += shown->found->rcpts[i].outcome == SPOOL_WAITING;
	if (it->pieced_n == it->pieced_cap) {
		it->pieced_cap = it->pieced_cap ? it->pieced_cap * 2 : 256;
		it->pieced = mem_grow(it->pieced, it->pieced_cap * sizeof(*it->pieced));
		it->whose = mem_grow(it->whose, it->pieced_cap * sizeof(*it->whose));
	}
	it->whose[it->pieced_n].segment = shown->found->segment;
	it->whose[it->pieced_n].id = shown->found->id;
	it->pieced[it->pieced_n++] = shown->message;
}

static bool
body_read(struct spool *spool, const struct spool_message *message)
{
	struct spool_reader reader;
	struct span bytes;
	struct buf room;
	bool done = false;

	if (!spool_read_open(spool, message, &reader, NULL))
		return false;
	buf_init(&room, 0);
	while (!done && spool_read_next(&reader, READ_BYTES, &room, &bytes, &done, NULL))
		;
	buf_fini(&room);
	spool_read_close(&reader);
	return done;
}

static void
check_bodies(struct checked *it)
{
	for (size_t i = 0; i < it->pieced_n; i++) {
		const struct spool_message *message = it->pieced[i];
		char file[24], text[120];

		if (message->all_bytes == message->record_bytes || body_read(it->look.spool, message))
			continue;
		cmd_spool_file(it->whose[i].segment, file);
		snprintf(text, sizeof(text), "a part of the body of message %016llX cannot be read; its sender gets a report",
			 (unsigned long long)it->whose[i].id);
		check_finding(it, &(struct spool_finding){ .file = file, .at = message->at, .to = message->at, .damage = true, .text = text });
	}
}

static const char *
plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void
check_print(const struct checked *it, bool json)
{
	const struct spool_counts *n = &it->look.counts;

	if (json) {
		json_t *answer = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "ok", it->damages == 0,
			"segments", (json_int_t)n->segments, "bytes", (json_int_t)n->bytes, "records", (json_int_t)n->records,
			"messages", (json_int_t)n->messages, "recipients", (json_int_t)it->recipients, "unread", (json_int_t)n->unread,
			"findings", it->findings);
		cmd_print_json(answer);
		json_decref(answer);
		return;
	}
	cmd_print_text(&it->text);
	printf("%llu segment%s, %llu record%s, %llu KiB; %llu message%s wait%s for %llu recipient%s: ",
	       (unsigned long long)n->segments, plural(n->segments), (unsigned long long)n->records, plural(n->records),
	       (unsigned long long)(n->bytes + 1023) >> 10, (unsigned long long)n->messages, plural(n->messages), n->messages == 1 ? "s" : "",
	       (unsigned long long)it->recipients, plural(it->recipients));
	if (it->damages)
		printf("damaged in %llu place%s, at least %llu message%s cannot be read\n", (unsigned long long)it->damages, plural(it->damages),
		       (unsigned long long)n->unread, plural(n->unread));
	else
		puts("all is whole");
}

static int
check_run(const char *folder, bool json)
{
	struct checked it = { .findings = json_array(), .look = { .on_message = check_message, .on_finding = check_finding } };
	struct err err = { 0 };
	bool ok;

	buf_init(&it.text, 0);
	it.look.ctx = &it;
	it.look.progress = isatty(STDERR_FILENO);
	ok = cmd_spool_open(&it.look, folder, &err);
	if (ok) {
		check_bodies(&it);
		check_print(&it, json);
	} else {
		cmd_failed("%s", err.text);
	}
	cmd_spool_close(&it.look);
	buf_fini(&it.text);
	json_decref(it.findings);
	free(it.pieced);
	free(it.whose);
	return ok && !it.damages ? EXIT_DONE : EXIT_FAILED;
}

/* ---- the command ---- */

static int
run(int argc, char **argv)
{
	enum { JSON, BODY };
	struct cmd_option options[] = { [JSON] = { "json", false, NULL }, [BODY] = { "body", false, NULL } };
	bool dump, check;
	int status;

	if (!cmd_parse(&cmd_spool, options, countof(options), &argc, argv, &status))
		return status;
	check = argc > 1 && !strcmp(argv[1], "check");
	dump = argc > 1 && !strcmp(argv[1], "dump");
	if (!check && !dump)
		return cmd_misused(&cmd_spool, argc > 1 ? "spool can check and dump, not %s" : "spool needs a word: check or dump", argv[1]);
	if (argc == 2)
		return cmd_misused(&cmd_spool, "spool %s needs the spool's folder", argv[1]);
	if (check && (argc > 3 || options[BODY].value))
		return cmd_misused(&cmd_spool, argc > 3 ? "spool check takes one folder" : "--body is for spool dump DIR ID");
	if (dump && argc > 4)
		return cmd_misused(&cmd_spool, "spool dump takes one folder and one message");
	if (options[BODY].value && (argc != 4 || options[JSON].value))
		return cmd_misused(&cmd_spool, argc != 4 ? "--body needs the id of a message" : "--body writes the message itself, which is no JSON");
	if (check)
		return check_run(argv[2], options[JSON].value != NULL);
	return cmd_spool_dump(argv[2], argc == 4 ? argv[3] : NULL, options[JSON].value != NULL, options[BODY].value != NULL);
}

const struct cmd cmd_spool = {
	.name = "spool",
	.arguments = "check DIR | dump DIR [ID [--body]] [--json]",
	.summary = "a spool that no node uses: is it whole, and what is in it",
	.help =
	"check reads every record of the spool in DIR as a start would, and says what is\n"
	"damaged, by file and byte, and how many messages wait. Exit status 1: there is\n"
	"damage, or DIR is in use or no spool. dump shows the messages: id, when they\n"
	"were received, size, where they stand, sender, and how each recipient stands.\n"
	"Neither changes a byte. A start goes on with damage: it takes what it can read,\n"
	"and keeps the damaged file as NAME.damaged.\n"
	"\n"
	"  ID       only this message\n"
	"  --body   its header and body, as they go over the wire\n"
	"  --json   check: {\"ok\", \"segments\", \"bytes\", \"records\", \"messages\",\n"
	"           \"recipients\", \"unread\", \"findings\": [{\"file\", \"at\", \"to\", \"damage\",\n"
	"           \"text\"}]}; dump: an array of {\"message\", \"received\", \"size\", \"file\",\n"
	"           \"at\", \"sender\", \"vmta\", \"job\", \"recipients\": [{\"recipient\", \"state\",\n"
	"           \"attempts\", \"due\"}]}\n"
	"\n"
	"example:\n"
	"  $ sluice spool check /var/spool/sluice\n"
	"  3 segments, 912 records, 4210 KiB; 120 messages wait for 131 recipients: all is whole\n",
	.run = run,
};
