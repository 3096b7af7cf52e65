/*
 * Appends and commits a second, by one sender and by 64 at once, in a folder of
 * the real disk (argument 1; /tmp otherwise).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool.h"

#define SECONDS 2

struct bench {
	struct loop  *loop;
	struct spool *spool;
	mono_us_t     until;
	uint64_t      done;
	unsigned      open;
	char          body[4096];
};

struct sender {
	struct bench *bench;
	struct spool_message message;
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
	spool_settle(bench->spool, &sender->message, 0, &delivered);
	if (clock_mono(&bench->loop->clock) < bench->until)
		send_one(sender);
	else if (--bench->open == 0)
		loop_stop(bench->loop);
}

static void
send_one(struct sender *sender)
{
	struct bench *bench = sender->bench;
	struct spool_writer *writer = spool_begin(bench->spool, NULL);

	check(writer != NULL);
	sender->message = (struct spool_message){ .id = spool_next_id(bench->spool) };
	spool_write(writer, span_make(bench->body, sizeof(bench->body)), NULL);
	spool_commit(writer, &sender->message, 1, SPAN("meta"), SPAN("Subject: bench\r\n\r\n"), on_commit, sender);
}

static void
run(struct disk *disk, unsigned senders_n)
{
	struct bench bench = { .loop = loop_os_new(NULL) };
	struct worker *worker = worker_os_new(bench.loop, "spool", NULL);
	struct spool_options options = { 0 };
	struct spool_owner owner = { 0 };
	struct sender senders[64];
	struct spool_stats stats;
	struct err err = { 0 };

	bench.spool = spool_open(disk, worker, bench.loop, &options, &owner, &err);
	if (!bench.spool) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	bench.until = clock_mono(&bench.loop->clock) + SECONDS * US_PER_S;
	bench.open = senders_n;
	for (unsigned i = 0; i < senders_n; i++) {
		senders[i] = (struct sender){ .bench = &bench };
		send_one(&senders[i]);
	}
	loop_run(bench.loop);
	spool_stats(bench.spool, &stats);
	printf("%2u at once: %7.0f messages/s, %.1f messages a sync\n", senders_n, (double)bench.done / SECONDS,
	       (double)bench.done / (double)(stats.syncs ? stats.syncs : 1));
	spool_close(bench.spool);
	worker_os_free(worker);
	loop_os_free(bench.loop);
}

static void
wipe_one(void *ctx, const char *name)
{
	struct disk *disk = ctx;

	disk->ops->remove(disk, name, NULL);
}

int
main(int argc, char **argv)
{
	char folder[4096];
	struct err err = { 0 };
	struct disk *disk;

	snprintf(folder, sizeof(folder), "%s/sluice-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (!mkdtemp(folder) || !(disk = disk_os_open(folder, &err))) {
		fprintf(stderr, "cannot make a folder in %s\n", folder);
		return 1;
	}
	run(disk, 1);
	run(disk, 64);
	disk->ops->list(disk, wipe_one, disk, NULL);
	disk_os_close(disk);
	return rmdir(folder) != 0;
}
