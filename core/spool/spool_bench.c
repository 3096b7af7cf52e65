/*
 * Appends and commits a second, synced, by one sender and by 64 at once, and messages
 * a second that a start finds again, in a folder of the real disk ($BENCH_DIR, else /tmp).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool.h"
#include "util/bench.h"

#define SECONDS  1
#define RECOVERED 100000u

struct bench {
	struct loop  *loop;
	struct spool *spool;
	mono_us_t     until;
	uint64_t      done;
	struct spool_message *kept;     /* each message has one, and is not settled; NULL: it is, at once */
	unsigned      begun;
	unsigned      open;
	char          body[4096];
};

struct sender {
	struct bench *bench;
	struct spool_message message;   /* where nothing is kept */
};

static void send_one(struct sender *sender);

static void
on_commit(void *ctx, const struct err *err)
{
	static const struct spool_rcpt_state delivered = { .outcome = SPOOL_DELIVERED };
	struct sender *sender = ctx;
	struct bench *bench = sender->bench;

	if (err) {
		fprintf(stderr, "%s\n", err->text);
		exit(1);
	}
	bench->done++;
	if (bench->kept == NULL)
		spool_settle(bench->spool, &sender->message, 0, &delivered);
	if (bench->kept != NULL ? bench->begun < RECOVERED : clock_mono(&bench->loop->clock) < bench->until)
		send_one(sender);
	else if (--bench->open == 0)
		loop_stop(bench->loop);
}

static void
send_one(struct sender *sender)
{
	struct bench *bench = sender->bench;
	struct spool_writer *writer = spool_begin(bench->spool, NULL);
	struct spool_message *message = bench->kept != NULL ? &bench->kept[bench->begun] : &sender->message;

	check(writer != NULL);
	bench->begun++;
	*message = (struct spool_message){ .id = spool_next_id(bench->spool) };
	spool_write(writer, span_make(bench->body, sizeof(bench->body)), NULL);
	spool_commit(writer, message, 1, SPAN("meta"), SPAN("Subject: bench\r\n\r\n"), on_commit, sender);
}

static void
open_spool(struct bench *bench, struct disk *disk, struct worker *worker, const struct spool_owner *owner)
{
	static const struct spool_options options = { 0 };
	struct err err = { 0 };

	bench->spool = spool_open(disk, worker, bench->loop, &options, owner, &err);
	if (!bench->spool) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
}

static void
play(struct bench *bench, unsigned senders_n)
{
	struct sender senders[64];

	bench->until = clock_mono(&bench->loop->clock) + SECONDS * US_PER_S;
	bench->open = senders_n;
	for (unsigned i = 0; i < senders_n; i++) {
		senders[i] = (struct sender){ .bench = bench };
		send_one(&senders[i]);
	}
	loop_run(bench->loop);
}

static void
commits(struct disk *disk, unsigned senders_n)
{
	struct bench bench = { .loop = loop_os_new(NULL) };
	struct worker *worker = worker_os_new(bench.loop, "spool", NULL);
	static const struct spool_owner owner = { 0 };

	open_spool(&bench, disk, worker, &owner);
	play(&bench, senders_n);
	bench_tell((double)bench.done / SECONDS, "/s", "spool.commits_by_%u", senders_n);
	spool_close(bench.spool);
	worker_os_free(worker);
	loop_os_free(bench.loop);
}

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *message)
{
	struct bench *bench = ctx;

	return &bench->kept[bench->begun++];
}

static void
recovery(struct disk *disk)
{
	struct bench bench = { .loop = loop_os_new(NULL), .kept = mem_alloc(RECOVERED * sizeof(*bench.kept)) };
	struct worker *worker = worker_os_new(bench.loop, "spool", NULL);
	const struct spool_owner owner = { .on_recovered = on_recovered, .ctx = &bench };
	double start;

	open_spool(&bench, disk, worker, &owner);
	play(&bench, 64);
	spool_close(bench.spool);
	bench.begun = 0;
	memset(bench.kept, 0, RECOVERED * sizeof(*bench.kept));
	start = bench_clock_s();
	open_spool(&bench, disk, worker, &owner);
	check(bench.begun == RECOVERED);
	bench_tell((double)bench.begun / (bench_clock_s() - start), "/s", "spool.recovered");
	spool_close(bench.spool);
	worker_os_free(worker);
	loop_os_free(bench.loop);
	free(bench.kept);
}

static void
wipe_one(void *ctx, const char *name)
{
	struct disk *disk = ctx;

	disk->ops->remove(disk, name, NULL);
}

int
main(void)
{
	const char *parent = getenv("BENCH_DIR");
	char folder[4096];
	struct err err = { 0 };
	struct disk *disk;

	snprintf(folder, sizeof(folder), "%s/sluice-bench-XXXXXX", parent ? parent : "/tmp");
	if (!mkdtemp(folder) || !(disk = disk_os_open(folder, &err))) {
		fprintf(stderr, "cannot make a folder in %s\n", folder);
		return 1;
	}
	commits(disk, 1);
	commits(disk, 64);
	recovery(disk);
	disk->ops->list(disk, wipe_one, disk, NULL);
	disk_os_close(disk);
	return rmdir(folder) != 0;
}
