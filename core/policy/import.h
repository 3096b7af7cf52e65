/*
 * import - a PowerMTA configuration becomes a policy, and each of its lines gets a verdict.
 *
 * Nothing of the configuration is dropped in silence; the policy, whatever the
 * configuration was, loads.
 *
 * Ownership  The result owns all that it points to; import_fini() ends it.
 * Limits     IMPORT_BYTES_MAX over all files; instructions and memory as for a
 *            policy's load, and more.
 * Errors     A file that cannot be read, or is no configuration, is a refusal: one
 *            sentence without the file's name.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/arena.h"
#include "util/buf.h"
#include "util/err.h"

#define IMPORT_BYTES_MAX ((size_t)8 << 20)

struct import_line {
	const char *file;
	int         line;
	const char *directive;
	const char *verdict;            /* "known", "alias", "deprecated", "not-powermta", "unsupported", "error" */
	const char *becomes, *note;     /* NULL: none */
};

struct import_result {
	struct arena arena;
	const char  *refusal;           /* NULL: there is a policy */
	struct span  policy;
	struct import_line *lines;
	unsigned     lines_n;
};

/* The files that a configuration includes come through here. */
struct import_files {
	/* The whole file into *out. */
	bool (*read)(void *ctx, const char *path, struct buf *out, struct err *err);
	/* The files that `pattern` names, seen from the folder of `from`: each through found(). */
	void (*find)(void *ctx, const char *pattern, const char *from, void (*found)(void *to, const char *path), void *to);
	void *ctx;
};

struct import_options {
	const char *as;                 /* the domain that lines outside of any block are for; NULL: all domains */
	bool        split;              /* read what a comment hides where newlines were lost */
	const char *written;            /* the day the configuration is of, "2026-01-01": where its warm-up begins */
};

void import_pmta(const char *path, const struct import_options *options, const struct import_files *files, struct import_result *out);
/* Whether `as` may be that: a domain or a pattern of domains. */
bool import_is_domain(const char *as);
void import_fini(struct import_result *result);
