/*
 * file_sim - pages of 64 KiB as a program sees them, and beside a page that was
 * written since the last sync a diff: which of its blocks are dirty, and what
 * they held before.
 *
 *   block     differs  dirty
 *   safe         -       -
 *   written      x       x      a sync makes it safe, a cut may
 *   given up     x       -      by a sync that failed: a cut loses it
 *
 * A spool appends, or writes on zeros that it wrote ahead, and there is nothing to save of
 * them: a written block costs two bits, and the one that the end stood in 512 bytes.
 * Zeros take no page, and beyond the end pages hold zeros, always.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/file_sim.h"

#include <stdlib.h>

#define BLOCK       512u
#define PAGE        (64u * 1024)
#define PAGE_BLOCKS (PAGE / BLOCK)
#define WORDS       (PAGE_BLOCKS / 64)
#define KEEP_SAVED  4u          /* blocks' memory in a spare diff */

struct saved {
	uint32_t block;
	char     bytes[BLOCK];
};

struct diff {
	struct list   link;
	uint32_t      page;
	uint64_t      differs[WORDS], dirty[WORDS];
	struct saved *saved;            /* of a block that differs and is not here zeros are safe */
	uint32_t      saved_n, saved_cap;
};

struct file_page {
	char        *now;               /* NULL: zeros */
	struct diff *diff;              /* NULL: all of it is safe */
};

static bool bit(const uint64_t *bits, uint32_t i) { return bits[i / 64] >> (i % 64) & 1; }
static void bit_set(uint64_t *bits, uint32_t i) { bits[i / 64] |= UINT64_C(1) << (i % 64); }
static void bit_clear(uint64_t *bits, uint32_t i) { bits[i / 64] &= ~(UINT64_C(1) << (i % 64)); }

static struct diff *
diff_of(struct file_sim *file, uint32_t page)
{
	struct diff *diff = file->pages[page].diff;

	if (diff)
		return diff;
	if (list_empty(&file->spares->diffs)) {
		diff = mem_alloc(sizeof(*diff));
	} else {
		diff = list_first(&file->spares->diffs, struct diff, link);
		list_remove(&diff->link);
	}
	*diff = (struct diff){ .page = page, .saved = diff->saved, .saved_cap = diff->saved_cap };
	list_add_tail(&file->diffs, &diff->link);
	file->pages[page].diff = diff;
	return diff;
}

static void
diff_drop(struct file_sim *file, struct diff *diff)
{
	file->pages[diff->page].diff = NULL;
	list_remove(&diff->link);
	if (diff->saved_cap > KEEP_SAVED) {
		free(diff->saved);
		diff->saved = NULL;
		diff->saved_cap = 0;
	}
	list_add_head(&file->spares->diffs, &diff->link);
}

static void
save_block(struct diff *diff, uint32_t block, const char *page)
{
	struct saved *saved;

	if (diff->saved_n == diff->saved_cap) {
		diff->saved_cap = diff->saved_cap ? diff->saved_cap * 2 : 1;
		diff->saved = mem_grow(diff->saved, diff->saved_cap * sizeof(*diff->saved));
	}
	saved = &diff->saved[diff->saved_n++];
	saved->block = block;
	memcpy(saved->bytes, page + block * BLOCK, BLOCK);
}

static bool
is_zeros(const char *p, size_t n)
{
	return n == 0 || (!p[0] && memcmp(p, p + 1, n - 1) == 0);
}

/* Before bytes [from, to) of a page change. */
static void
make_dirty(struct file_sim *file, uint32_t page, uint32_t from, uint32_t to)
{
	struct diff *diff = diff_of(file, page);
	const char *now = file->pages[page].now;

	for (uint32_t b = from / BLOCK; b <= (to - 1) / BLOCK; b++) {
		bit_set(diff->dirty, b);
		if (bit(diff->differs, b))
			continue;
		bit_set(diff->differs, b);
		if (now && (uint64_t)page * PAGE + b * BLOCK < file->now_n && !is_zeros(now + b * BLOCK, BLOCK))
			save_block(diff, b, now);
	}
}

static char *
page_take(struct file_spares *spares)
{
	return spares->pages_n > 0 ? spares->pages[--spares->pages_n] : mem_alloc(PAGE);
}

/* Of it only the first `used` bytes are not zeros. */
static void
page_give(struct file_spares *spares, char *page, size_t used)
{
	if (!page || spares->pages_n == countof(spares->pages)) {
		free(page);
		return;
	}
	memset(page, 0, used);
	spares->pages[spares->pages_n++] = page;
}

static void
make_pages(struct file_sim *file, uint64_t size)
{
	uint32_t n = (uint32_t)((size + PAGE - 1) / PAGE);

	if (n <= file->pages_n)
		return;
	n = n < file->pages_n * 2 ? file->pages_n * 2 : n;
	file->pages = mem_grow(file->pages, n * sizeof(*file->pages));
	memset(file->pages + file->pages_n, 0, (n - file->pages_n) * sizeof(*file->pages));
	file->pages_n = n;
}

struct file_sim *
file_sim_new(struct file_spares *spares)
{
	struct file_sim *file = mem_alloc(sizeof(*file));

	list_init(&file->diffs);
	file->spares = spares;
	return file;
}

void
file_sim_ref(struct file_sim *file)
{
	file->refs++;
}

void
file_sim_unref(struct file_sim *file)
{
	if (--file->refs)
		return;
	while (!list_empty(&file->diffs))
		diff_drop(file, list_first(&file->diffs, struct diff, link));
	for (uint64_t i = 0; i < file->pages_n; i++) {
		int64_t used = max_i64((int64_t)file->now_n - (int64_t)(i * PAGE), 0);

		page_give(file->spares, file->pages[i].now, (size_t)min_i64(used, PAGE));
	}
	free(file->pages);
	free(file);
}

void
file_sim_write(struct file_sim *file, uint64_t at, const char *p, size_t n)
{
	make_pages(file, at + n);
	while (n > 0) {
		uint32_t page = (uint32_t)(at / PAGE), in_page = (uint32_t)(at % PAGE);
		uint32_t some = (uint32_t)min_i64((int64_t)n, PAGE - in_page);

		make_dirty(file, page, in_page, in_page + some);
		if (!file->pages[page].now && !is_zeros(p, some))
			file->pages[page].now = page_take(file->spares);
		if (file->pages[page].now)
			memcpy(file->pages[page].now + in_page, p, some);
		at += some;
		p += some;
		n -= some;
		if (file->now_n < at)
			file->now_n = at;
	}
}

size_t
file_sim_read(const struct file_sim *file, uint64_t at, char *to, size_t n)
{
	size_t done = 0;

	if (at >= file->now_n)
		return 0;
	n = (size_t)min_i64((int64_t)n, (int64_t)(file->now_n - at));
	while (done < n) {
		uint32_t page = (uint32_t)((at + done) / PAGE), in_page = (uint32_t)((at + done) % PAGE);
		size_t some = (size_t)min_i64((int64_t)(n - done), PAGE - in_page);

		if (file->pages[page].now)
			memcpy(to + done, file->pages[page].now + in_page, some);
		else
			memset(to + done, 0, some);
		done += some;
	}
	return n;
}

/* Zeros from `size` to the end that was; nobody asks what is safe. Whole pages go: what a cut may bring back of them
 * was saved, and both would be twice the file. */
static void
wipe(struct file_sim *file, uint64_t size)
{
	for (uint64_t at = size; at < (uint64_t)file->pages_n * PAGE; at = (at / PAGE + 1) * PAGE) {
		char **now = &file->pages[at / PAGE].now;

		if (!*now)
			continue;
		if (at % PAGE == 0) {
			page_give(file->spares, *now, PAGE);
			*now = NULL;
		} else {
			memset(*now + at % PAGE, 0, PAGE - at % PAGE);
		}
	}
}

void
file_sim_truncate(struct file_sim *file, uint64_t size)
{
	make_pages(file, size);
	for (uint64_t at = size; at < file->now_n; at = (at / PAGE + 1) * PAGE) {
		uint64_t left = file->now_n - at;
		uint32_t in_page = (uint32_t)(at % PAGE);

		make_dirty(file, (uint32_t)(at / PAGE), in_page, (uint32_t)min_i64(PAGE, (int64_t)(in_page + left)));
	}
	if (size < file->now_n)
		wipe(file, size);
	file->now_n = size;
}

/* Forgets what was saved of blocks that are safe now. */
static void
tidy(struct file_sim *file, struct diff *diff)
{
	uint32_t kept = 0;
	uint64_t any = 0;

	for (uint32_t w = 0; w < WORDS; w++)
		any |= diff->differs[w];
	if (!any) {
		diff_drop(file, diff);
		return;
	}
	for (uint32_t i = 0; i < diff->saved_n; i++) {
		if (bit(diff->differs, diff->saved[i].block))
			diff->saved[kept++] = diff->saved[i];
	}
	diff->saved_n = kept;
}

void
file_sim_sync(struct file_sim *file)
{
	list_each_safe(pos, &file->diffs) {
		struct diff *diff = list_entry(pos, struct diff, link);

		for (uint32_t w = 0; w < WORDS; w++) {
			diff->differs[w] &= ~diff->dirty[w];
			diff->dirty[w] = 0;
		}
		tidy(file, diff);
	}
	file->safe_n = file->now_n;
}

void
file_sim_sync_badly(struct file_sim *file, bool clean, struct prng *prng)
{
	list_each_safe(pos, &file->diffs) {
		struct diff *diff = list_entry(pos, struct diff, link);

		for (uint32_t b = 0; b < PAGE_BLOCKS; b++) {
			bool written = bit(diff->dirty, b) && prng_below(prng, 2);

			if (written)
				bit_clear(diff->differs, b);
			if (written || clean)
				bit_clear(diff->dirty, b);
		}
		tidy(file, diff);
	}
	if (prng_below(prng, 2))
		file->safe_n = file->now_n;
}

static const char *
safe_bytes(const struct diff *diff, uint32_t block)
{
	static const char zeros[BLOCK];

	for (uint32_t i = 0; i < diff->saved_n; i++)
		if (diff->saved[i].block == block)
			return diff->saved[i].bytes;
	return zeros;
}

/* How many bytes of a block's front are the new ones. */
static uint32_t
survivors(const struct diff *diff, uint32_t block, struct prng *prng)
{
	if (!bit(diff->dirty, block))
		return 0;
	switch (prng_below(prng, 5)) {
	case 0:  return (uint32_t)prng_below(prng, BLOCK + 1);
	case 1:
	case 2:  return 0;
	default: return BLOCK;
	}
}

static void
crash_page(struct file_sim *file, struct diff *diff, struct prng *prng)
{
	char **now = &file->pages[diff->page].now;

	if (!*now)
		*now = page_take(file->spares);
	for (uint32_t b = 0; b < PAGE_BLOCKS; b++) {
		uint32_t kept;

		if (!bit(diff->differs, b))
			continue;
		kept = survivors(diff, b, prng);
		memcpy(*now + b * BLOCK + kept, safe_bytes(diff, b) + kept, BLOCK - kept);
	}
}

/* The new length, the safe one, or one on the way to a longer one. */
static uint64_t
crash_length(const struct file_sim *file, struct prng *prng)
{
	uint64_t n = file->safe_n;

	if (prng_below(prng, 3) == 0)
		return file->now_n;
	if (file->now_n > file->safe_n)
		n += prng_below(prng, file->now_n - file->safe_n + 1);
	else if (file->now_n < file->safe_n && prng_below(prng, 2))
		n = file->now_n;
	return n;
}

void
file_sim_crash(struct file_sim *file, struct prng *prng)
{
	uint64_t n = crash_length(file, prng);

	while (!list_empty(&file->diffs)) {
		struct diff *diff = list_first(&file->diffs, struct diff, link);

		crash_page(file, diff, prng);
		diff_drop(file, diff);
	}
	wipe(file, n);
	file->now_n = file->safe_n = n;
}

struct file_spares *
file_spares_new(void)
{
	struct file_spares *spares = mem_alloc(sizeof(*spares));

	list_init(&spares->diffs);
	return spares;
}

void
file_spares_free(struct file_spares *spares)
{
	while (spares->pages_n > 0)
		free(spares->pages[--spares->pages_n]);
	list_each_safe(pos, &spares->diffs) {
		struct diff *diff = list_entry(pos, struct diff, link);

		list_remove(pos);
		free(diff->saved);
		free(diff);
	}
	free(spares);
}
