/*
 * Zeros written ahead, so that a sync moves no metadata.
 *
 * Where a file got longer, a sync also commits its length and its new blocks to the
 * file system's own journal: another thread's turn, and beside a lone message three quarters of
 * what the device writes. So a small write that makes a file longer takes zeros along, and those
 * that follow overwrite them: blocks that are there, and were written. fallocate() does not
 * serve, for its blocks count as unwritten until a sync has moved metadata after all.
 *
 * What falls on zeros is written twice. For a large batch that costs more than the metadata, so
 * it gets none: on ext4 a sync of 4 KB takes 0.6 of the time, one of 35 KB 0.7, one of 140 KB
 * as long as before. Chunks of more than 256 KiB win nothing. A file that is about to be closed gets
 * none either, for it ends where its records do, nor any while the disk is nearly full.
 *
 * Zeros are no record, so recovery ends where nothing but zeros is left (spool_record.c).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#include <errno.h>

#define CHUNK (256u * 1024u)
#define SEGMENT_PART 4u                 /* of a segment, at most: on a small disk it is short */
#define SMALL (32u * 1024u)             /* a batch that gets zeros */
#define JOURNAL_PART 4u                 /* of a chunk: what a journal gets */
#define PIECE (CHUNK / SPOOL_AHEAD_IOVS)

/* Bytes that may be written ahead without anybody being refused for it. */
static uint64_t
chunk_of(const struct spool_core *core)
{
	uint64_t chunk = (uint64_t)min_i64(CHUNK, (int64_t)(core->segment_bytes / SEGMENT_PART));
	uint64_t kept = core->space_since + spool_floor(core) + 2 * chunk;

	return core->space_at && core->space_free > kept ? chunk : 0;
}

void
spool_ahead_plan(const struct spool_segment *segment, uint64_t bytes, struct spool_ahead *out)
{
	struct spool_core *core = segment->core;
	uint64_t chunk = chunk_of(core), room = core->segment_bytes > segment->end ? core->segment_bytes - segment->end : 0;

	*out = (struct spool_ahead){ .journal = (uint32_t)(chunk / JOURNAL_PART) };
	if (bytes > segment->file_ahead && bytes <= SMALL && bytes <= chunk / 2)
		out->file = (uint32_t)min_i64((int64_t)chunk, (int64_t)room);
	/* What falls on zeros takes no more space; it was counted when it was appended. */
	core->space_since += out->file;
	core->space_since -= (uint64_t)min_i64((int64_t)core->space_since, min_i64((int64_t)bytes, (int64_t)segment->file_ahead));
}

static int
zeros_add(struct iovec *iov, uint32_t n)
{
	static const char zeros[PIECE];
	int iov_n = 0;

	for (; n > 0; iov_n++) {
		uint32_t some = n < PIECE ? n : PIECE;

		iov[iov_n] = (struct iovec){ (void *)zeros, some };
		n -= some;
	}
	return iov_n;
}

bool
spool_ahead_write(const struct disk_ops *ops, struct disk_file *file, uint64_t at, struct iovec *iov, int iov_n,
		  uint32_t more, uint64_t *ahead, struct err *err)
{
	uint64_t bytes = 0;
	bool ok;

	for (int i = 0; i < iov_n; i++)
		bytes += iov[i].iov_len;
	if (bytes <= *ahead)
		more = 0;
	ok = ops->write(file, at, iov, iov_n + zeros_add(iov + iov_n, more), err);
	if (!ok && more && (err->sys == ENOSPC || err->sys == EDQUOT)) {
		/* What is there of the zeros is room that something else needs. */
		more = 0;
		ok = ops->truncate(file, at, err) && ops->write(file, at, iov, iov_n, err);
		if (ok)
			*err = (struct err){ 0 };
	}
	*ahead = !ok ? 0 : bytes <= *ahead ? *ahead - bytes : more;
	return ok;
}
