/*
 * Opens a spool whose files hold any bytes: it refuses, or cuts, or gives messages
 * that can be read and settled; and what it gave, it gives again.
 *
 * Input: a byte of flags (1: seal each record, so that sums are right and what is
 * behind them is reached), the journal's length u16, the journal, and the segment. What
 * a message keeps makes no sense if it begins with a question mark.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_testing.h"

#define NUMBER 1u
#define MESSAGES_MAX 4096u
#define MESSAGE_BYTES_MIN 64u

struct owner {
	struct spool_message *messages[MESSAGES_MAX];
	struct spool_rcpt_state *states[MESSAGES_MAX];
	unsigned n;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *recovered)
{
	struct owner *owner = ctx;

	if (span_starts(recovered->meta, SPAN("?")))
		return NULL;
	check(owner->n < MESSAGES_MAX);
	owner->messages[owner->n] = mem_alloc(sizeof(struct spool_message));
	owner->states[owner->n] = mem_alloc(recovered->rcpts_n * sizeof(struct spool_rcpt_state));
	memcpy(owner->states[owner->n], recovered->rcpts, recovered->rcpts_n * sizeof(struct spool_rcpt_state));
	return owner->messages[owner->n++];
}

static void
on_states(void *ctx, const struct spool_message *message, struct spool_rcpt_state *rcpts)
{
	struct owner *owner = ctx;

	for (unsigned i = 0; i < owner->n; i++) {
		if (owner->messages[i] == message)
			memcpy(rcpts, owner->states[i], message->rcpts_n * sizeof(*rcpts));
	}
}

static void
owner_fini(struct owner *owner)
{
	for (unsigned i = 0; i < owner->n; i++) {
		free(owner->messages[i]);
		free(owner->states[i]);
	}
	owner->n = 0;
}

static void
seal_all(char *p, size_t n)
{
	for (size_t at = 0; n - at >= SPOOL_RECORD_HEADER;) {
		uint32_t payload_bytes = (unsigned char)p[at + 8] | (uint32_t)(unsigned char)p[at + 9] << 8;

		if (payload_bytes > n - at - SPOOL_RECORD_HEADER)
			return;
		spool_record_seal(p + at, payload_bytes, (enum spool_record_kind)(unsigned char)p[at + 4], spool_record_round(p + at), NUMBER, at);
		at += SPOOL_RECORD_HEADER + payload_bytes;
	}
}

static void
use(struct spool *spool, struct owner *owner)
{
	for (unsigned i = 0; i < owner->n; i++) {
		struct spool_reader reader;
		struct buf got;
		bool done = false;

		if (!spool_read_open(spool, owner->messages[i], &reader, NULL))
			continue;
		buf_init(&got, 0);
		while (!done && spool_read(&reader, 1000, &got, &done, NULL))
			;
		check(!done || buf_len(&got) == reader.size_bytes);
		spool_read_close(&reader);
		buf_fini(&got);
	}
	for (unsigned i = 0; i < owner->n; i += 2) {
		for (uint16_t k = 0; k < owner->messages[i]->rcpts_n; k++) {
			struct spool_rcpt_state *state = &owner->states[i][k];
			if (state->outcome != SPOOL_WAITING)
				continue;
			state->outcome = SPOOL_DELIVERED;
			spool_settle(spool, owner->messages[i], k, state);
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct owner *owner = mem_alloc(sizeof(*owner));
	struct fake_disk *fake = mem_alloc(sizeof(*fake));
	struct hand *hand = mem_alloc(sizeof(*hand));
	struct spool_options options = { .segment_bytes = 64 * 1024 };
	struct spool_owner face = { on_recovered, on_states, owner };
	char *bytes = mem_alloc(n + 1);
	struct spool *spool;

	if (n >= 3 && n < MESSAGES_MAX * MESSAGE_BYTES_MIN) {
		size_t journal_n = (data[1] | (size_t)data[2] << 8) % (n - 2);

		memcpy(bytes, data + 3, n - 3);
		if (data[0] & 1) {
			seal_all(bytes, journal_n);
			seal_all(bytes + journal_n, n - 3 - journal_n);
		}
		fake_init(fake, 1);
		hand_init(hand);
		fake_file_put(fake, "0000000000000001.jnl", span_make(bytes, journal_n));
		fake_file_put(fake, "0000000000000001.seg", span_make(bytes + journal_n, n - 3 - journal_n));
		spool = spool_open(&fake->disk, &hand->worker, &hand->loop, &options, &face, NULL);
		if (spool) {
			unsigned kept = owner->n / 2;
			use(spool, owner);
			hand_settle(hand);
			hand_pass(hand, 2 * US_PER_S);
			hand_settle(hand);
			spool_close(spool);
			hand_settle(hand);
			owner_fini(owner);
			spool = spool_open(&fake->disk, &hand->worker, &hand->loop, &options, &face, NULL);
			check(spool != NULL);
			check(owner->n == kept);
			spool_close(spool);
		}
		hand_fini(hand);
		fake_fini(fake);
	}
	owner_fini(owner);
	free(bytes);
	free(hand);
	free(fake);
	free(owner);
	return 0;
}
