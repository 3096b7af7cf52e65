/*
 * Four shards on threads of their own use one spool on the real disk: they commit, read what
 * the others committed, and settle each other's recipients, while small segments keep compaction
 * going. Then it is closed, opened again, and compared with what was promised.
 *
 * A recipient is one shard's to settle, and a shard reads a message only while one of its
 * own recipients keeps it alive: so everybody knows what he may touch, as in the node.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

#include "spool/spool_inside.h"
#include "util/prng.h"

#define SHARDS 4u
#define MAILS_EACH 250u
#define MAILS (SHARDS * MAILS_EACH)
#define RCPTS SHARDS
#define OPEN_MAX 20u
#define ATTEMPTS_BITS 16
#define COMPACTED_MIN 5u                /* segments, before anybody stops */

enum mail_state { MAIL_NONE, MAIL_LIVE, MAIL_REFUSED };

struct mail {
	struct spool_message message;
	struct shard *from;
	uint32_t      body_bytes;
	atomic_int    state;            /* enum mail_state; LIVE publishes what is above */
	atomic_uint   rcpts[RCPTS];     /* outcome << ATTEMPTS_BITS | attempts; each written by one shard */
	atomic_uint   over;             /* how often it was said */
	bool          back;
};

struct shard {
	struct node  *node;
	unsigned      i;
	struct loop  *loop;
	struct spool *spool;
	struct prng   prng;
	struct timer  turn;
	unsigned      begun, open, reads;
	bool          finishing;
	struct spool_reader reader;     /* one that takes its time */
	struct mail  *reading;
	pthread_t     thread, self;
};

struct node {
	char           folder[64];
	struct disk   *disk;
	struct worker *worker;
	struct shard   shards[SHARDS];
	struct mail    mails[MAILS];
	atomic_uint    told;
	unsigned       back;
};

static struct spool_rcpt_state
rcpt_state(struct mail *mail, unsigned k)
{
	unsigned packed = atomic_load_explicit(&mail->rcpts[k], memory_order_relaxed);

	return (struct spool_rcpt_state){
		.outcome = (uint8_t)(packed >> ATTEMPTS_BITS), .attempts = (uint16_t)(packed & ((1u << ATTEMPTS_BITS) - 1)),
	};
}

static bool
lives_by(struct mail *mail, unsigned k)
{
	return atomic_load_explicit(&mail->state, memory_order_acquire) == MAIL_LIVE &&
	       rcpt_state(mail, k).outcome == SPOOL_WAITING;
}

/* Every eighth mail is left with a recipient for the next life. */
static bool
is_kept(const struct node *node, const struct mail *mail, unsigned k)
{
	return (mail - node->mails) % 8 == 0 && k == 2;
}

static void
on_states(void *ctx, const struct spool_message *message, struct spool_rcpt_state *rcpts)
{
	struct mail *mail = container_of(message, struct mail, message);

	for (unsigned k = 0; k < RCPTS; k++)
		rcpts[k] = rcpt_state(mail, k);
}

static void
body(uint64_t id, uint32_t n, struct buf *to)
{
	for (uint32_t i = 0; i < n; i++)
		buf_add_char(to, (char)('a' + (id * 7 + i * 13 + i / 251) % 26));
}

/* ---- what a shard does ---- */

static void
on_commit(void *ctx, const struct err *err)
{
	struct mail *mail = ctx;
	struct shard *shard = mail->from;

	check(pthread_equal(pthread_self(), shard->self));
	check(mail->state == MAIL_NONE);
	check(!err);
	shard->open--;
	atomic_store_explicit(&mail->state, MAIL_LIVE, memory_order_release);
	atomic_fetch_add(&shard->node->told, 1);
}

static void
send(struct shard *shard)
{
	struct mail *mail = &shard->node->mails[shard->i * MAILS_EACH + shard->begun];
	struct spool_writer *writer = spool_begin(shard->spool, NULL);
	struct buf text;

	check(writer != NULL);
	if (prng_below(&shard->prng, 10) == 0) {
		spool_write(writer, SPAN("never mind"), NULL);
		spool_abort(writer);
		return;
	}
	shard->begun++;
	shard->open++;
	mail->from = shard;
	mail->message.id = spool_next_id(shard->spool);
	mail->body_bytes = (uint32_t)prng_below(&shard->prng, prng_below(&shard->prng, 40) ? 3000 : 600000);
	buf_init(&text, 0);
	body(mail->message.id, mail->body_bytes, &text);
	check(spool_write(writer, buf_span(&text), NULL));
	buf_fini(&text);
	spool_commit(writer, &mail->message, RCPTS, SPAN("meta"), SPAN("A: b\r\n\r\n"), on_commit, mail);
}

static void
settle(struct shard *shard, struct mail *mail, uint8_t outcome)
{
	unsigned k = shard->i;
	struct spool_rcpt_state state = rcpt_state(mail, k);

	state.outcome = outcome;
	state.attempts++;
	atomic_store_explicit(&mail->rcpts[k], (unsigned)outcome << ATTEMPTS_BITS | state.attempts, memory_order_relaxed);
	if (spool_settle(shard->spool, &mail->message, (uint16_t)k, &state))
		atomic_fetch_add(&mail->over, 1);
}

static void
check_text(struct spool_reader *reader, const struct mail *mail, uint64_t id)
{
	struct buf got, want;
	bool done = false;

	buf_init(&got, 0);
	buf_init(&want, 0);
	buf_add_text(&want, "A: b\r\n\r\n");
	body(id, mail->body_bytes, &want);
	while (!done)
		check(spool_read(reader, 70000, &got, &done, NULL));
	check(span_eq(buf_span(&got), buf_span(&want)));
	buf_fini(&got);
	buf_fini(&want);
}

static void
reading_ends(struct shard *shard)
{
	if (!shard->reading)
		return;
	check_text(&shard->reader, shard->reading, shard->reading->message.id);
	spool_read_close(&shard->reader);
	shard->reading = NULL;
	shard->reads++;
}

static void
reading_begins(struct shard *shard, struct mail *mail)
{
	reading_ends(shard);
	check(spool_read_open(shard->spool, &mail->message, &shard->reader, NULL));
	shard->reading = mail;
}

static void
step(struct shard *shard)
{
	struct mail *mail = &shard->node->mails[prng_below(&shard->prng, MAILS)];
	unsigned dice = (unsigned)prng_below(&shard->prng, 100);
	struct spool_stats stats;

	if (dice < 40 && shard->begun < MAILS_EACH && shard->open < OPEN_MAX)
		send(shard);
	else if (dice < 50 && lives_by(mail, shard->i))
		reading_begins(shard, mail);
	else if (dice < 55)
		reading_ends(shard);
	else if (dice < 60 && lives_by(mail, shard->i))
		settle(shard, mail, SPOOL_WAITING);
	else if (dice < 98 && lives_by(mail, shard->i) && !is_kept(shard->node, mail, shard->i))
		settle(shard, mail, dice % 2 ? SPOOL_DELIVERED : SPOOL_BOUNCED);
	else if (dice == 98)
		check(!spool_refuses(shard->spool));
	else if (dice == 99)
		spool_stats(shard->spool, &stats);
}

/* All are told: what is left of its recipients, in order. What is kept goes on being read and settled. */
static void
finish(struct shard *shard)
{
	struct node *node = shard->node;

	shard->finishing = true;
	for (unsigned i = 0; i < MAILS; i++) {
		struct mail *mail = &node->mails[i];
		if (lives_by(mail, shard->i) && !is_kept(node, mail, shard->i))
			settle(shard, mail, SPOOL_DROPPED);
	}
	spool_hurry(shard->spool);
}

static bool
has_compacted(struct shard *shard)
{
	struct spool_stats stats;

	spool_stats(shard->spool, &stats);
	return stats.compacted >= COMPACTED_MIN;
}

static void
on_turn(void *ctx, struct now now)
{
	struct shard *shard = ctx;
	struct node *node = shard->node;

	for (int i = 0; i < 20; i++)
		step(shard);
	if (atomic_load(&node->told) == MAILS && !shard->finishing)
		finish(shard);
	if (shard->finishing && has_compacted(shard)) {
		reading_ends(shard);
		loop_stop(shard->loop);
		return;
	}
	timer_start(&shard->loop->timers, &shard->turn, now.mono + 100);
}

static void *
shard_main(void *arg)
{
	struct shard *shard = arg;

	shard->self = pthread_self();
	timer_start(&shard->loop->timers, &shard->turn, shard->loop->now.mono);
	loop_run(shard->loop);
	return NULL;
}

/* ---- the node ---- */

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *recovered)
{
	struct node *node = ctx;

	for (unsigned i = 0; i < MAILS; i++) {
		struct mail *mail = &node->mails[i];
		if (mail->message.id != recovered->id)
			continue;
		check(!mail->back);
		check(atomic_load(&mail->over) == 0);
		check(recovered->rcpts_n == RCPTS);
		for (unsigned k = 0; k < RCPTS; k++) {
			struct spool_rcpt_state state = rcpt_state(mail, k);
			check(recovered->rcpts[k].outcome == state.outcome);
			check(recovered->rcpts[k].attempts == state.attempts);
		}
		mail->back = true;
		node->back++;
		mail->message = (struct spool_message){ .id = recovered->id };
		return &mail->message;
	}
	return NULL;
}

static void
node_open(struct node *node)
{
	struct spool_options options = { .segment_bytes = 128 * 1024, .fresh_bytes_max = 256 * 1024 };
	struct spool_owner owner = { on_recovered, on_states, node };
	struct err err = { 0 };

	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *shard = &node->shards[i];
		shard->node = node;
		shard->i = i;
		shard->loop = loop_os_new(NULL);
		prng_seed(&shard->prng, i + 1);
		timer_init(&shard->turn, on_turn, shard);
	}
	node->worker = worker_os_new(node->shards[0].loop, "spool", NULL);
	node->shards[0].spool = spool_open(node->disk, node->worker, node->shards[0].loop, &options, &owner, &err);
	if (!node->shards[0].spool)
		fail_msg("%s", err.text);
	for (unsigned i = 1; i < SHARDS; i++)
		node->shards[i].spool = spool_join(node->shards[0].spool, node->shards[i].loop);
}

static void
node_close(struct node *node)
{
	for (unsigned i = SHARDS; i-- > 0; )
		spool_close(node->shards[i].spool);
	worker_os_free(node->worker);
	for (unsigned i = 0; i < SHARDS; i++) {
		while (loop_run_posted(node->shards[i].loop))
			;
		loop_os_free(node->shards[i].loop);
	}
}

static void
wipe_one(void *ctx, const char *name)
{
	struct disk *disk = ctx;

	assert_true(disk->ops->remove(disk, name, NULL));
}

static struct node *
node_new(void)
{
	struct node *node = mem_alloc(sizeof(*node));

	snprintf(node->folder, sizeof(node->folder), "/tmp/sluice-shared-XXXXXX");
	assert_non_null(mkdtemp(node->folder));
	node->disk = disk_os_open(node->folder, NULL);
	assert_non_null(node->disk);
	return node;
}

static void
node_free(struct node *node)
{
	assert_true(node->disk->ops->list(node->disk, wipe_one, node->disk, NULL));
	disk_os_close(node->disk);
	assert_int_equal(rmdir(node->folder), 0);
	free(node);
}

static void
four_shards_lose_nothing_of_what_they_share(void **state)
{
	struct node *node = node_new();
	struct spool_stats stats;
	unsigned kept = 0, reads = 0;

	node_open(node);
	for (unsigned i = 0; i < SHARDS; i++)
		assert_int_equal(pthread_create(&node->shards[i].thread, NULL, shard_main, &node->shards[i]), 0);
	for (unsigned i = 0; i < SHARDS; i++) {
		assert_int_equal(pthread_join(node->shards[i].thread, NULL), 0);
		reads += node->shards[i].reads;
	}
	spool_stats(node->shards[0].spool, &stats);
	assert_true(reads > 0);
	node_close(node);
	for (unsigned i = 0; i < MAILS; i++) {
		bool ended = true;
		for (unsigned k = 0; k < RCPTS; k++)
			ended = ended && rcpt_state(&node->mails[i], k).outcome != SPOOL_WAITING;
		assert_int_equal(atomic_load(&node->mails[i].over), ended);
		kept += !ended;
	}
	assert_int_equal(stats.live_messages, kept);
	node_open(node);
	assert_int_equal(node->back, kept);
	for (unsigned i = 0; i < MAILS; i++) {
		struct shard *shard = &node->shards[i % SHARDS];
		if (!node->mails[i].back)
			continue;
		assert_true(spool_read_open(shard->spool, &node->mails[i].message, &shard->reader, NULL));
		check_text(&shard->reader, &node->mails[i], node->mails[i].message.id);
		spool_read_close(&shard->reader);
	}
	node_close(node);
	node_free(node);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(four_shards_lose_nothing_of_what_they_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
