/*
 * Reading a file of the spool from its start, record by record, around what the disk cannot read.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_record.h"

#include <errno.h>

#define WINDOW_BYTES (1024u * 1024u)
#define BLOCK_BYTES 4096u               /* a page, and the sector of most disks */
#define SECTOR_BYTES 512u               /* the least that a disk writes whole */

bool
spool_is_unreadable(const struct err *err)
{
	switch (err->sys) {
	case EIO: case ENODATA: case EILSEQ:            /* the device */
	case EBADMSG: case EUCLEAN:                     /* a file system with sums */
		return true;
	default:
		return false;
	}
}

/* Block by block, up to the one that fails. */
static bool
read_blocks(const struct disk_ops *ops, struct disk_file *file, uint64_t at, char *to, size_t n,
	    size_t *got_out, uint64_t *bad_to_out, struct err *err)
{
	size_t got = 0, want = 0, some = 0;

	for (; got < n && some == want; got += some) {
		uint64_t from = at + got, end = from - from % BLOCK_BYTES + BLOCK_BYTES;

		want = end - from < n - got ? (size_t)(end - from) : n - got;
		if (ops->read(file, from, to + got, want, &some, err))
			continue;
		if (!spool_is_unreadable(err))
			return false;
		*bad_to_out = end;
		break;
	}
	*got_out = got;
	return true;
}

bool
spool_read_some(const struct disk_ops *ops, struct disk_file *file, uint64_t at, char *to, size_t n,
		size_t *got_out, uint64_t *bad_to_out, struct err *err)
{
	struct err trouble = { 0 };

	*bad_to_out = 0;
	if (ops->read(file, at, to, n, got_out, &trouble))
		return true;
	if (spool_is_unreadable(&trouble) && read_blocks(ops, file, at, to, n, got_out, bad_to_out, &trouble))
		return true;
	if (err)
		*err = trouble;
	return false;
}

void
spool_scan_init(struct spool_scan *scan, const struct disk_ops *ops, struct disk_file *file,
		uint64_t number, uint64_t size)
{
	*scan = (struct spool_scan){ .ops = ops, .file = file, .number = number, .size = size, .content = size };
	buf_init(&scan->window, 0);
}

void
spool_scan_fini(struct spool_scan *scan)
{
	buf_fini(&scan->window);
}

/* At least n bytes in the window; the caller knows that the file has them. */
static bool
window_fill(struct spool_scan *scan, uint64_t n, bool *short_out, struct err *err)
{
	size_t have = buf_len(&scan->window), got;
	uint64_t want, left = scan->size - scan->next - have, bad_to;
	char *room;

	*short_out = false;
	if (have >= n)
		return true;
	want = n - have > WINDOW_BYTES ? n - have : WINDOW_BYTES;
	if (want > left)
		want = left;
	room = buf_grow(&scan->window, (size_t)want);
	check(room != NULL);
	if (!spool_read_some(scan->ops, scan->file, scan->next + have, room, (size_t)want, &got, &bad_to, err))
		return false;
	buf_grow_commit(&scan->window, got);
	*short_out = have + got < n;
	scan->bad_to = *short_out ? bad_to : 0;
	return true;
}

static size_t
without_zeros(const char *p, size_t n)
{
	while (n > 0 && !p[n - 1])
		n--;
	return n;
}

/* From the file's end, and once: a hostile file of zeros with holes must not be looked through again for each. */
static bool
content_find(struct spool_scan *scan, struct err *err)
{
	char some[BLOCK_BYTES];
	uint64_t end = scan->size;
	size_t want, got, left = 0;
	uint64_t bad_to;

	for (; end > 0 && left == 0; end -= want - left) {
		want = end % BLOCK_BYTES ? (size_t)(end % BLOCK_BYTES) : BLOCK_BYTES;
		if (!spool_read_some(scan->ops, scan->file, end - want, some, want, &got, &bad_to, err))
			return false;
		left = bad_to ? want : without_zeros(some, got);
	}
	scan->content = end;
	scan->looked = true;
	return true;
}

static enum spool_step
record_next(struct spool_scan *scan, struct spool_record *out, struct err *err)
{
	uint64_t left = scan->size - scan->next;
	struct span window;
	uint32_t payload_bytes;
	bool cut, whole;

	scan->at = scan->next;
	scan->beyond = scan->bad_to = 0;
	if (left == 0)
		return SPOOL_STEP_END;
	if (left < SPOOL_RECORD_HEADER)
		return SPOOL_STEP_BAD;
	if (!window_fill(scan, SPOOL_RECORD_HEADER, &cut, err))
		return SPOOL_STEP_ERROR;
	if (cut)
		return SPOOL_STEP_BAD;
	window = buf_span(&scan->window);
	check(window.n >= SPOOL_RECORD_HEADER);
	whole = spool_record_peek(window.p, scan->number, scan->at, &payload_bytes);
	if (payload_bytes > left - SPOOL_RECORD_HEADER)
		return SPOOL_STEP_BAD;
	if (whole || spool_record_is_mostly(window.p, scan->number, scan->at))
		scan->beyond = scan->at + SPOOL_RECORD_HEADER + payload_bytes;
	scan->round = spool_record_round(window.p);
	scan->kind = (uint8_t)window.p[4];
	if (!whole)
		return SPOOL_STEP_BAD;
	if (!window_fill(scan, SPOOL_RECORD_HEADER + (uint64_t)payload_bytes, &cut, err))
		return SPOOL_STEP_ERROR;
	if (cut || !spool_record_parse(span_first(buf_span(&scan->window), SPOOL_RECORD_HEADER + (size_t)payload_bytes),
				       scan->number, scan->at, out))
		return SPOOL_STEP_BAD;
	/* Consuming moves no bytes: the payload stays where it is until the next fill. */
	buf_consume(&scan->window, SPOOL_RECORD_HEADER + (size_t)payload_bytes);
	scan->next += SPOOL_RECORD_HEADER + (uint64_t)payload_bytes;
	return SPOOL_STEP_RECORD;
}

enum spool_step
spool_scan_next(struct spool_scan *scan, struct spool_record *out, struct err *err)
{
	enum spool_step step = record_next(scan, out, err);

	if (step != SPOOL_STEP_BAD)
		return step;
	if (!scan->looked && !content_find(scan, err))
		return SPOOL_STEP_ERROR;
	return scan->at >= scan->content ? SPOOL_STEP_END : SPOOL_STEP_BAD;
}

void
spool_scan_seek(struct spool_scan *scan, uint64_t at)
{
	if (at >= scan->next && at - scan->next <= buf_len(&scan->window))
		buf_consume(&scan->window, (size_t)(at - scan->next));
	else
		buf_clear(&scan->window);
	scan->next = at;
}

enum spool_step
spool_scan_search(struct spool_scan *scan, uint32_t payload_max, struct err *err)
{
	struct span window;
	uint32_t payload_bytes;
	bool cut;

	for (uint64_t at = scan->at + 1; at < scan->content && scan->size - at >= SPOOL_RECORD_HEADER; at++) {
		spool_scan_seek(scan, at);
		if (!window_fill(scan, SPOOL_RECORD_HEADER, &cut, err))
			return SPOOL_STEP_ERROR;
		if (cut && !scan->bad_to)
			break;
		if (cut) {
			at = scan->bad_to - 1;
			continue;
		}
		window = buf_span(&scan->window);
		check(window.n >= SPOOL_RECORD_HEADER);
		if (spool_record_peek(window.p, scan->number, at, &payload_bytes) && payload_bytes <= payload_max)
			return SPOOL_STEP_RECORD;
	}
	return SPOOL_STEP_END;
}

/* The last sector stands in part behind `to`, and that part is good: so it is there. */
bool
spool_scan_has_zeros(const struct spool_scan *scan, uint64_t from, uint64_t to)
{
	char some[SECTOR_BYTES];
	size_t want, got;

	for (to -= to % SECTOR_BYTES; from < to; from += want) {
		want = SECTOR_BYTES - from % SECTOR_BYTES;
		if (!scan->ops->read(scan->file, from, some, want, &got, NULL) || got < want)
			return false;
		if (without_zeros(some, got) == 0)
			return true;
	}
	return false;
}
