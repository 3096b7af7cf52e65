/*
 * A folder of any files: a look at it changes nothing (the disk has no way to), and finds
 * just what a start then finds; what it found can be read to an end, or is damaged.
 *
 * Input: files, each a byte that chooses the name, a byte of flags (1: seal each record, so
 * that sums are right and what is behind them is reached), its length u16, and that many bytes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_look.h"

#include "spool/spool_testing.h"

#define MESSAGES_MAX 4096u

struct seen {
	struct spool_message *messages[MESSAGES_MAX];
	uint32_t sums[MESSAGES_MAX];    /* of how the recipients stand */
	unsigned n;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct { const char *name; uint64_t number; } names[] = {
	{ "0000000000000001.seg", 1 }, { "0000000000000001.jnl", 1 }, { "0000000000000002.seg", 2 }, { "0000000000000002.jnl", 2 },
	{ "0000000000000003.seg", 3 }, { "0000000000000003.jnl", 3 }, { "state", 0 }, { "clean", 0 }, { "removed", 0 },
	{ "0000000000000002.seg.damaged", 2 }, { "state.damaged-7", 0 },
	{ "0000000000000002.jnl.new", 2 },
};

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *found)
{
	struct seen *seen = ctx;
	uint32_t sum = (uint32_t)found->id * 31 + (uint32_t)found->meta.n;

	if (seen->n == MESSAGES_MAX || span_starts(found->meta, SPAN("?")))
		return NULL;
	for (unsigned i = 0; i < found->rcpts_n; i++)
		sum = sum * 31 + found->rcpts[i].outcome * 7u + found->rcpts[i].attempts + (uint32_t)found->rcpts[i].due.ms;
	seen->sums[seen->n] = sum;
	seen->messages[seen->n] = mem_alloc(sizeof(struct spool_message));
	return seen->messages[seen->n++];
}

static void
on_states(void *ctx, const struct spool_message *message, struct spool_rcpt_state *rcpts)
{
	memset(rcpts, 0, message->rcpts_n * sizeof(*rcpts));
}

static void
on_finding(void *ctx, const struct spool_finding *finding)
{
	check(finding->file[0] && finding->text[0] && finding->at <= finding->to);
}

static void
seen_fini(struct seen *seen)
{
	for (unsigned i = 0; i < seen->n; i++)
		free(seen->messages[i]);
	free(seen);
}

static void
seal_all(char *p, size_t n, uint64_t number)
{
	for (size_t at = 0; n - at >= SPOOL_RECORD_HEADER;) {
		uint32_t payload_bytes = (unsigned char)p[at + 8] | (uint32_t)(unsigned char)p[at + 9] << 8;

		if (payload_bytes > n - at - SPOOL_RECORD_HEADER)
			return;
		spool_record_seal(p + at, payload_bytes, (enum spool_record_kind)(unsigned char)p[at + 4], spool_record_round(p + at), number, at);
		at += SPOOL_RECORD_HEADER + payload_bytes;
	}
}

static void
files_put(struct fake_disk *fake, const uint8_t *data, size_t n)
{
	while (n >= 4) {
		unsigned which = data[0] % countof(names);
		size_t bytes = data[2] | (size_t)data[3] << 8;
		char *p;

		bytes = bytes < n - 4 ? bytes : n - 4;
		p = mem_alloc(bytes + 1);
		memcpy(p, data + 4, bytes);
		if (data[1] & 1)
			seal_all(p, bytes, names[which].number);
		fake_file_put(fake, names[which].name, span_make(p, bytes));
		free(p);
		data += 4 + bytes;
		n -= 4 + bytes;
	}
}

static void
read_all(struct spool *spool, struct seen *seen)
{
	for (unsigned i = 0; i < seen->n; i++) {
		struct spool_reader reader;
		struct buf room;
		struct span bytes;
		uint64_t got = 0;
		bool done = false;

		if (!spool_read_open(spool, seen->messages[i], &reader, NULL))
			continue;
		buf_init(&room, 0);
		while (!done && spool_read_next(&reader, 1000, &room, &bytes, &done, NULL))
			got += bytes.n;
		check(!done || got == reader.size_bytes);
		spool_read_close(&reader);
		buf_fini(&room);
	}
}

static struct seen *
look(struct fake_disk *fake)
{
	static const struct disk_ops reads = {
		.open = fake_open, .close = fake_close, .read = fake_read, .size = fake_size, .list = fake_list, .lock = fake_lock,
	};
	const struct disk_ops *all = fake->disk.ops;
	struct seen *seen = mem_alloc(sizeof(*seen));
	struct spool_look_options options = { .on_finding = on_finding };
	struct spool_owner owner = { on_recovered, on_states, seen };
	struct spool_counts counts;
	struct spool *spool;

	fake->disk.ops = &reads;
	spool = spool_look(&fake->disk, &options, &owner, &counts, NULL);
	if (spool) {
		check(counts.messages == seen->n);
		read_all(spool, seen);
		spool_look_end(spool);
	}
	fake->disk.ops = all;
	if (spool)
		return seen;
	seen_fini(seen);
	return NULL;
}

static void
start(struct fake_disk *fake, const struct seen *want)
{
	struct hand *hand = mem_alloc(sizeof(*hand));
	struct seen *seen = mem_alloc(sizeof(*seen));
	struct spool_options options = { .segment_bytes = 64 * 1024 };
	struct spool_owner owner = { on_recovered, on_states, seen };
	struct spool *spool;

	hand_init(hand);
	spool = spool_open(&fake->disk, &hand->worker, &hand->loop, &options, &owner, NULL);
	check(!spool == !want);
	if (spool) {
		check(seen->n == want->n);
		check(memcmp(seen->sums, want->sums, seen->n * sizeof(seen->sums[0])) == 0);
	}
	spool_close(spool);
	hand_fini(hand);
	seen_fini(seen);
	free(hand);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fake_disk *fake = mem_alloc(sizeof(*fake));
	struct seen *seen;

	fake_init(fake, 1);
	files_put(fake, data, n);
	seen = look(fake);
	start(fake, seen);
	if (seen)
		seen_fini(seen);
	fake_fini(fake);
	free(fake);
	return 0;
}
