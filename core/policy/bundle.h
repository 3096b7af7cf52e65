/*
 * bundle - the files of a policy as they were read, once: every load of it, on
 * whatever shard, back again or after a restart, sees the same bytes.
 *
 * A bundle begins empty and takes in what a load reads. One that is sealed is
 * whole: what is not in it is not there.
 *
 * Ownership  new/free; owns copies of all.
 * Threads    One at a time.
 * Limits     A file of BUNDLE_FILE_MAX.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/buf.h"
#include "util/err.h"

#define BUNDLE_FILE_MAX (32u << 20)

struct bundle_file {
	char  *path;                    /* as the policy names it */
	char  *text;
	size_t n;
	uint64_t stamp;                 /* how it stood on the disk just before it was read; 0: it was not */
	uint32_t owner;                 /* of what was read, by number */
};

struct bundle {
	char  *policy;                  /* as given */
	char  *base;                    /* the folder that relative paths begin in; "": the process's own */
	struct bundle_file *files;
	unsigned n;
	char **missed;                  /* looked for, and not there; the first ones */
	unsigned missed_n;
	bool   sealed;
	bool   plain;                   /* only regular files are read, and through no link: somebody else writes in that folder */
};

struct bundle *bundle_new(const char *policy, const char *base);
void bundle_free(struct bundle *bundle);

/* A file that is not read: this is what it holds. It must not be in the bundle yet. */
void bundle_put(struct bundle *bundle, const char *path, struct span text);
/* The file, read where it is not in the bundle yet. False: *err says why not, without the path. */
bool bundle_read(struct bundle *bundle, const char *path, struct span *text_out, struct err *err);
/* Where a path of the policy leads. The caller frees it. */
char *bundle_path(const struct bundle *bundle, const char *path);
/* How its files stood when they were read, and how they stand: unequal when one was written, made or removed since. */
uint64_t bundle_stamp(const struct bundle *bundle);
uint64_t bundle_stamp_now(const struct bundle *bundle);
bool bundle_equal(const struct bundle *a, const struct bundle *b);

void bundle_encode(const struct bundle *bundle, struct buf *out);
struct bundle *bundle_decode(struct span in);           /* sealed; NULL: damaged */
