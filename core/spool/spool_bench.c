/*
 * Appends and commits a second, synced, by one sender and by 64 at once, the same 64 on four
 * threads, and messages a second that a start finds again, in a folder of the real disk
 * ($BENCH_DIR, else /tmp).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

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
	unsigned      open;             /* senders; of the first: and other threads */
	struct bench *first;            /* NULL: it is the first */
	struct loop_call ended;         /* tells the first, whose loop must turn until then */
	char          body[4096];
};

struct sender {
	struct bench *bench;
	struct spool_message message;   /* where nothing is kept */
};

static void send_one(struct sender *sender);

static void
one_less(struct bench *bench)
{
	if (--bench->open > 0)
		return;
	loop_stop(bench->loop);
	if (bench->first != NULL)
		loop_post(bench->first->loop, &bench->ended);
}

static void
on_ended(void *ctx)
{
	struct bench *bench = ctx;

	one_less(bench->first);
}

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
	else
		one_less(bench);
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
	bench->open += senders_n;
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

static void *
play_sixteen(void *bench)
{
	play(bench, 16);
	return NULL;
}

/* What one thread has not settled yet may be worth compacting to another. */
static void
on_states(void *ctx, const struct spool_message *message, struct spool_rcpt_state *rcpts)
{
	rcpts[0] = (struct spool_rcpt_state){ .outcome = SPOOL_WAITING };
}

static void
commits_on_four_threads(struct disk *disk)
{
	struct bench benches[4] = { { .loop = loop_os_new(NULL), .open = 3 } };
	struct worker *worker = worker_os_new(benches[0].loop, "spool", NULL);
	static const struct spool_owner owner = { .on_states = on_states };
	pthread_t threads[4];
	uint64_t done = 0;

	open_spool(&benches[0], disk, worker, &owner);
	for (unsigned i = 1; i < countof(benches); i++) {
		benches[i] = (struct bench){ .loop = loop_os_new(NULL), .first = &benches[0], .ended = { .fn = on_ended, .ctx = &benches[i] } };
		benches[i].spool = spool_join(benches[0].spool, benches[i].loop);
		check(pthread_create(&threads[i], NULL, play_sixteen, &benches[i]) == 0);
	}
	play_sixteen(&benches[0]);
	for (unsigned i = countof(benches); i-- > 0; ) {
		if (i > 0)
			check(pthread_join(threads[i], NULL) == 0);
		done += benches[i].done;
		spool_close(benches[i].spool);
	}
	worker_os_free(worker);
	for (unsigned i = 0; i < countof(benches); i++) {
		loop_run_posted(benches[i].loop);
		loop_os_free(benches[i].loop);
	}
	bench_tell((double)done / SECONDS, "/s", "spool.commits_by_64_on_4");
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
	commits_on_four_threads(disk);
	recovery(disk);
	disk->ops->list(disk, wipe_one, disk, NULL);
	disk_os_close(disk);
	return rmdir(folder) != 0;
}
