/*
 * bundle - a few files in memory. Policies have a handful of modules, so they
 * stand in a row.
 *
 * As bytes: a mark with the version, policy, base, then path and text of each file,
 * and a checksum of all that, for a bundle is kept on a disk that power may leave.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/crc.h"
#include "util/table.h"

#define MARK     SPAN("sluice bundle 1\n")
#define PIECE    65536u
#define MISSED_MAX 64

struct bundle *
bundle_new(const char *policy, const char *base)
{
	struct bundle *bundle = mem_alloc(sizeof(*bundle));
	bundle->policy = mem_strdup(policy);
	bundle->base = mem_strdup(base);
	return bundle;
}

void
bundle_free(struct bundle *bundle)
{
	if (!bundle)
		return;
	for (unsigned i = 0; i < bundle->n; i++) {
		free(bundle->files[i].path);
		free(bundle->files[i].text);
	}
	for (unsigned i = 0; i < bundle->missed_n; i++)
		free(bundle->missed[i]);
	free(bundle->missed);
	free(bundle->files);
	free(bundle->policy);
	free(bundle->base);
	free(bundle);
}

/* Places are compared as texts, and "./x" is no other place than "x". */
static void
drop_dots(char *path)
{
	char *to = path;
	for (const char *from = path; *from; *to++ = *from++)
		while (from[0] == '.' && from[1] == '/' && from[2] && from[2] != '/' && (to == path || to[-1] == '/'))
			from += 2;
	*to = '\0';
}

char *
bundle_path(const struct bundle *bundle, const char *path)
{
	bool whole = path[0] == '/' || bundle->base[0] == '\0';
	size_t n = strlen(bundle->base) + strlen(path) + 2;
	char *place = mem_alloc(n);
	snprintf(place, n, "%s%s%s", whole ? "" : bundle->base, whole ? "" : "/", path);
	drop_dots(place);
	return place;
}

/* Another number when the file was written or replaced; 0: it is not there. */
static uint64_t
stamp_of(const struct stat *st)
{
	int64_t facts[] = { (int64_t)st->st_ino, st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec };
	return hash_bytes(span_make(facts, sizeof(facts)), 1) | 1;
}

static uint64_t
stamp_now(const struct bundle *bundle, const char *path)
{
	char *whole = bundle_path(bundle, path);
	struct stat st;
	uint64_t stamp = stat(whole, &st) == 0 ? stamp_of(&st) : 0;
	free(whole);
	return stamp;
}

static uint64_t
add_stamp(uint64_t sum, uint64_t stamp)
{
	return hash_bytes(span_make(&stamp, sizeof(stamp)), sum);
}

uint64_t
bundle_stamp(const struct bundle *bundle)
{
	uint64_t sum = 1;
	for (unsigned i = 0; i < bundle->n; i++)
		sum = add_stamp(sum, bundle->files[i].stamp);
	for (unsigned i = 0; i < bundle->missed_n; i++)
		sum = add_stamp(sum, 0);
	return sum;
}

uint64_t
bundle_stamp_now(const struct bundle *bundle)
{
	uint64_t sum = 1;
	for (unsigned i = 0; i < bundle->n; i++)
		sum = add_stamp(sum, stamp_now(bundle, bundle->files[i].path));
	for (unsigned i = 0; i < bundle->missed_n; i++)
		sum = add_stamp(sum, stamp_now(bundle, bundle->missed[i]));
	return sum;
}

static void
note_missed(struct bundle *bundle, const char *path)
{
	if (bundle->missed_n == MISSED_MAX)
		return;
	bundle->missed = mem_grow(bundle->missed, (bundle->missed_n + 1) * sizeof(*bundle->missed));
	bundle->missed[bundle->missed_n++] = mem_strdup(path);
}

/* NULL: *err says why. */
static FILE *
open_plain(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (fd < 0 && errno == ELOOP) {
		err_set(err, ERR_PERM, "is a symbolic link, which is not followed here");
		return NULL;
	}
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		err_set(err, ERR_PERM, "is no regular file");
		close(fd);
		return NULL;
	}
	FILE *file = fd >= 0 ? fdopen(fd, "rb") : NULL;
	if (!file)
		err_sys(err, "cannot be read");
	return file;
}

static FILE *
open_any(const char *path, struct err *err)
{
	FILE *file = fopen(path, "rbe");
	if (!file)
		err_sys(err, "cannot be read");
	return file;
}

/* All but its path. */
static bool
read_file(const char *path, bool plain, struct bundle_file *out, struct err *err)
{
	FILE *file = plain ? open_plain(path, err) : open_any(path, err);
	if (!file)
		return false;
	struct stat st = { 0 };
	out->stamp = fstat(fileno(file), &st) == 0 ? stamp_of(&st) : 0;
	out->owner = st.st_uid;
	char *text = NULL;
	size_t n = 0, got;
	do {
		text = mem_grow(text, n + PIECE);
		errno = 0;
		got = fread(text + n, 1, PIECE, file);
		n += got;
	} while (got && n < BUNDLE_FILE_MAX);
	bool ok = !ferror(file);
	if (!ok)
		err_sys(err, "cannot be read");
	fclose(file);
	if (ok && n >= BUNDLE_FILE_MAX)
		ok = err_set(err, ERR_PERM, "is larger than a policy may be (32 MiB)");
	if (!ok) {
		free(text);
		return false;
	}
	out->text = text;
	out->n = n;
	return true;
}

static struct bundle_file *
add(struct bundle *bundle, struct span path)
{
	bundle->files = mem_grow(bundle->files, (bundle->n + 1) * sizeof(*bundle->files));
	struct bundle_file *file = &bundle->files[bundle->n++];
	*file = (struct bundle_file){ .path = mem_strndup(path.p, path.n) };
	return file;
}

void
bundle_put(struct bundle *bundle, const char *path, struct span text)
{
	struct bundle_file *file = add(bundle, span_text(path));
	/* Whole, though a NUL may be in it. */
	file->text = mem_alloc(text.n + 1);
	if (text.n)
		memcpy(file->text, text.p, text.n);
	file->n = text.n;
}

bool
bundle_read(struct bundle *bundle, const char *path, struct span *text_out, struct err *err)
{
	for (unsigned i = 0; i < bundle->n; i++) {
		if (strcmp(bundle->files[i].path, path) != 0)
			continue;
		*text_out = span_make(bundle->files[i].text, bundle->files[i].n);
		return true;
	}
	if (bundle->sealed) {
		err_set(err, ERR_PERM, "was not there when this policy was read");
		err->sys = ENOENT;
		return false;
	}
	struct bundle_file read = { .path = NULL };
	char *whole = bundle_path(bundle, path);
	bool ok = read_file(whole, bundle->plain, &read, err);
	free(whole);
	if (!ok) {
		if (err && err->sys == ENOENT)
			note_missed(bundle, path);
		return false;
	}
	struct bundle_file *file = add(bundle, span_text(path));
	read.path = file->path;
	*file = read;
	*text_out = span_make(file->text, file->n);
	return true;
}

bool
bundle_equal(const struct bundle *a, const struct bundle *b)
{
	if (a->n != b->n || strcmp(a->policy, b->policy) != 0 || strcmp(a->base, b->base) != 0)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (strcmp(a->files[i].path, b->files[i].path) != 0 || a->files[i].n != b->files[i].n ||
		    memcmp(a->files[i].text, b->files[i].text, a->files[i].n) != 0)
			return false;
	return true;
}

void
bundle_encode(const struct bundle *bundle, struct buf *out)
{
	buf_add(out, MARK);
	buf_put_bytes(out, span_text(bundle->policy));
	buf_put_bytes(out, span_text(bundle->base));
	buf_put_u32(out, bundle->n);
	for (unsigned i = 0; i < bundle->n; i++) {
		buf_put_bytes(out, span_text(bundle->files[i].path));
		buf_put_bytes(out, span_make(bundle->files[i].text, bundle->files[i].n));
	}
	buf_put_u32(out, crc32c(0, buf_span(out)));
}

/* A text that goes to C's functions: no NUL in it. */
static bool
get_text(struct span *in, struct span *out)
{
	return span_get_bytes(in, out) && memchr(out->n ? out->p : "", '\0', out->n) == NULL;
}

static bool
get_file(struct bundle *bundle, struct span *in)
{
	struct span path, text;
	if (!get_text(in, &path) || !span_get_bytes(in, &text) || text.n >= BUNDLE_FILE_MAX)
		return false;
	struct bundle_file *file = add(bundle, path);
	file->text = mem_alloc(text.n + 1);
	if (text.n)
		memcpy(file->text, text.p, text.n);
	file->n = text.n;
	return true;
}

struct bundle *
bundle_decode(struct span in)
{
	struct span policy, base, sum;
	uint32_t files_n, crc;
	if (!span_starts(in, MARK) || in.n < MARK.n + 4)
		return NULL;
	sum = span_from(in, in.n - 4);
	in = span_first(in, in.n - 4);
	if (!span_get_u32(&sum, &crc) || crc != crc32c(0, in))
		return NULL;
	in = span_from(in, MARK.n);
	if (!get_text(&in, &policy) || !get_text(&in, &base) || !span_get_u32(&in, &files_n))
		return NULL;
	struct bundle *bundle = mem_alloc(sizeof(*bundle));
	bundle->policy = mem_strndup(policy.p, policy.n);
	bundle->base = mem_strndup(base.p, base.n);
	bundle->sealed = true;
	bool ok = true;
	for (uint32_t i = 0; i < files_n && ok; i++)
		ok = get_file(bundle, &in);
	if (ok && in.n == 0)
		return bundle;
	bundle_free(bundle);
	return NULL;
}
