/* Any configuration: the importer ends, and what it writes loads. It may include itself, and any other file. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool
read_input(void *ctx, const char *path, struct buf *out, struct err *err)
{
	const struct span *input = ctx;
	if (strcmp(path, "fuzz.conf") == 0)
		return buf_add(out, *input);
	return buf_add_text(out, "max-smtp-out 3\n<domain included.example>\nmax-msg-rate 5/m\n");
}

static void
find_itself(void *ctx, const char *pattern, const char *from, void (*found)(void *to, const char *path), void *to)
{
	if (pattern[0] == '*')
		found(to, "fuzz.conf");
	found(to, "other.conf");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span input = span_make(data, n);
	struct import_files files = { read_input, find_itself, &input };
	struct import_options options = { .as = n % 3 == 0 ? "a.example" : NULL, .split = n % 2, .written = "2026-01-01" };
	struct import_result result;
	if (n > 20000)
		return 0;
	import_pmta("fuzz.conf", &options, &files, &result);
	check(!result.refusal || strncmp(result.refusal, "cannot be imported", 18) != 0);
	for (unsigned i = 0; !result.refusal && i < result.lines_n; i++) {
		check(result.lines[i].file);
		check(result.lines[i].line > 0);
		check(result.lines[i].directive);
		check(result.lines[i].verdict);
	}
	import_fini(&result);
	return 0;
}
