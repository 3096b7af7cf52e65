/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/literal.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
stands_in(const struct literal *literal, struct span line)
{
	for (size_t at = 0; at + literal->n <= line.n; at++) {
		size_t i = 0;
		while (i < literal->n && literal_fold((unsigned char)line.p[at + i]) == (unsigned char)literal->text[i])
			i++;
		if (i == literal->n)
			return true;
	}
	return false;
}

static bool
matches(struct span pattern, struct span line)
{
	int error;
	size_t offset;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, PCRE2_CASELESS | PCRE2_NEVER_UTF, &error, &offset, NULL);
	if (!code)
		return false;
	pcre2_match_data *match = pcre2_match_data_create(1, NULL);
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(context, 10000);
	pcre2_set_heap_limit(context, 1024);
	int got = pcre2_match(code, (PCRE2_SPTR)line.p, line.n, 0, 0, match, context);
	pcre2_match_context_free(context);
	pcre2_match_data_free(match);
	pcre2_code_free(code);
	return got >= 0;
}

/* A pattern, a newline, a line: if PCRE2 says that it matches, one of the literals stands in the line. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_make(data, size), pattern;
	struct literals literals;
	if (size == 0 || size > 300 || !span_split(&rest, '\n', &pattern))
		return 0;
	struct span line = rest.n ? rest : SPAN("");
	literal_extract(pattern, &literals);
	if (literals.n == 0 || !matches(pattern, line))
		return 0;
	bool found = false;
	for (unsigned i = 0; i < literals.n; i++)
		found = found || stands_in(&literals.literals[i], line);
	check(found);
	return 0;
}
