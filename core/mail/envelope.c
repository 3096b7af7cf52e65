/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian: a version byte, the fixed fields, the texts each with its length
 * before it, the recipients' count and then each recipient. A checksum is the
 * spool's business; here what does not add up is refused, since an envelope read
 * wrongly is mail sent wrongly. The count is held against the bytes that are left
 * before memory is taken for it. A new field means a new version: the old one stays readable.
 */
#include "mail/envelope.h"

#define VERSION        1
#define FLAG_EIGHTBIT  1
#define FLAG_SMTPUTF8  2
#define FLAGS_ALL      (FLAG_EIGHTBIT | FLAG_SMTPUTF8)
#define PRIORITY_MAX   100
#define RCPT_BYTES_MIN 13       /* three lengths and notify */

void
envelope_encode(const struct envelope *envelope, struct buf *out)
{
	buf_put_u8(out, VERSION);
	buf_put_u64(out, envelope->id);
	buf_put_u64(out, (uint64_t)envelope->received.ms);
	buf_put_u8(out, (uint8_t)((envelope->eightbit ? FLAG_EIGHTBIT : 0) | (envelope->smtputf8 ? FLAG_SMTPUTF8 : 0)));
	buf_put_u8(out, envelope->priority);
	buf_put_bytes(out, envelope->sender);
	buf_put_bytes(out, envelope->envid);
	buf_put_bytes(out, envelope->ret);
	buf_put_bytes(out, envelope->vmta);
	buf_put_bytes(out, envelope->pool);
	buf_put_bytes(out, envelope->job);
	buf_put_bytes(out, envelope->source_type);
	buf_put_bytes(out, envelope->source_mta);
	buf_put_u32(out, envelope->rcpts_n);
	for (unsigned i = 0; i < envelope->rcpts_n; i++) {
		const struct envelope_rcpt *rcpt = &envelope->rcpts[i];
		buf_put_bytes(out, rcpt->address);
		buf_put_bytes(out, rcpt->domain);
		buf_put_bytes(out, rcpt->orcpt);
		buf_put_u8(out, rcpt->notify);
	}
}

static bool
decode_fixed(struct span *in, struct envelope *out)
{
	uint8_t version, flags;
	uint64_t received;
	if (!span_get_u8(in, &version) || version != VERSION || !span_get_u64(in, &out->id) ||
	    !span_get_u64(in, &received) || !span_get_u8(in, &flags) || !span_get_u8(in, &out->priority))
		return false;
	out->received.ms = (int64_t)received;
	out->eightbit = flags & FLAG_EIGHTBIT;
	out->smtputf8 = flags & FLAG_SMTPUTF8;
	return (flags & ~FLAGS_ALL) == 0 && out->priority <= PRIORITY_MAX;
}

static bool
decode_texts(struct span *in, struct envelope *out)
{
	return span_get_bytes(in, &out->sender) && span_get_bytes(in, &out->envid) &&
	       span_get_bytes(in, &out->ret) && span_get_bytes(in, &out->vmta) &&
	       span_get_bytes(in, &out->pool) && span_get_bytes(in, &out->job) &&
	       span_get_bytes(in, &out->source_type) && span_get_bytes(in, &out->source_mta);
}

static bool
decode_rcpts(struct span *in, struct arena *arena, struct envelope *out)
{
	uint32_t n;
	if (!span_get_u32(in, &n) || n > in->n / RCPT_BYTES_MIN)
		return false;
	out->rcpts = arena_alloc(arena, n * sizeof(*out->rcpts));
	out->rcpts_n = n;
	for (uint32_t i = 0; i < n; i++) {
		struct envelope_rcpt *rcpt = &out->rcpts[i];
		if (!span_get_bytes(in, &rcpt->address) || !span_get_bytes(in, &rcpt->domain) ||
		    !span_get_bytes(in, &rcpt->orcpt) || !span_get_u8(in, &rcpt->notify))
			return false;
	}
	return in->n == 0;
}

bool
envelope_decode(struct span in, struct arena *arena, struct envelope *out, struct err *err)
{
	memset(out, 0, sizeof(*out));
	if (!decode_fixed(&in, out))
		return err_set(err, ERR_PERM, "an envelope of no known form");
	if (!decode_texts(&in, out) || !decode_rcpts(&in, arena, out))
		return err_set(err, ERR_PERM, "a damaged envelope");
	return true;
}

void
envelope_id_format(uint64_t id, char out[17])
{
	static const char digits[] = "0123456789ABCDEF";
	for (unsigned i = 0; i < 16; i++)
		out[i] = digits[id >> (60 - 4 * i) & 15];
	out[16] = '\0';
}
