/*
 * A reply has at most 1000 bytes, so honest patterns end within thousands of
 * steps; MATCH_MAX cuts off what backtracks without end after a fraction of a
 * millisecond. Machine code counts steps by its own measure and has a stack of its
 * own; without it (a hardened kernel) the interpreter has depth and heap instead.
 *
 * Whether an anchored pattern can match at all is asked of PCRE2 itself: a partial
 * match with each code and a blank says whether anything that begins so could.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MATCH_MAX  50000
#define DEPTH_MAX  5000
#define HEAP_MAX   1024                 /* KiB */
#define STACK_MIN  (32u << 10)
#define STACK_MAX  (512u << 10)

struct pattern {
	pcre2_code *code;
	bool        anchored;
};

struct pattern_scratch {
	pcre2_match_data    *data;
	pcre2_match_context *context;
	pcre2_jit_stack     *stack;
};

struct pattern *
pattern_compile(struct span text, struct err *err)
{
	int error;
	size_t offset;
	/* (*UTF) at its head would make bytes of other encodings errors. */
	uint32_t options = PCRE2_CASELESS | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)text.p, text.n, options, &error, &offset, NULL);
	if (!code) {
		char why[200];
		pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof(why));
		err_set(err, ERR_PERM, "at offset %zu: %s", offset, why);
		return NULL;
	}
	(void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	uint32_t all = 0;
	pcre2_pattern_info(code, PCRE2_INFO_ALLOPTIONS, &all);
	struct pattern *pattern = mem_alloc(sizeof(*pattern));
	*pattern = (struct pattern){ code, all & PCRE2_ANCHORED };
	return pattern;
}

void
pattern_free(struct pattern *pattern)
{
	if (!pattern)
		return;
	pcre2_code_free(pattern->code);
	free(pattern);
}

enum pattern_answer
pattern_match(const struct pattern *pattern, struct pattern_scratch *scratch, struct span line)
{
	int got = pcre2_match(pattern->code, (PCRE2_SPTR)(line.n ? line.p : ""), line.n, 0, 0, scratch->data, scratch->context);
	if (got >= 0)
		return PATTERN_YES;
	return got == PCRE2_ERROR_NOMATCH ? PATTERN_NO : PATTERN_CUT_OFF;
}

static bool
could_begin(const struct pattern *pattern, struct pattern_scratch *scratch, unsigned code)
{
	char head[8];
	snprintf(head, sizeof(head), "%u ", code);
	for (size_t n = 3; n <= 4; n++) {
		uint32_t options = PCRE2_NO_JIT | (n == 4 ? PCRE2_PARTIAL_HARD : 0);
		int got = pcre2_match(pattern->code, (PCRE2_SPTR)head, n, 0, options, scratch->data, scratch->context);
		if (got != PCRE2_ERROR_NOMATCH)
			return true;
	}
	return false;
}

const char *
pattern_cannot(const struct pattern *pattern, struct pattern_scratch *scratch)
{
	if (!pattern->anchored)
		return NULL;
	for (unsigned code = 400; code < 600; code++)
		if (could_begin(pattern, scratch, code))
			return NULL;
	return "no reply begins so: they begin with a code from 400 to 599 and a blank";
}

struct pattern_scratch *
pattern_scratch_new(void)
{
	struct pattern_scratch *scratch = mem_alloc(sizeof(*scratch));
	scratch->data = pcre2_match_data_create(1, NULL);
	scratch->context = pcre2_match_context_create(NULL);
	scratch->stack = pcre2_jit_stack_create(STACK_MIN, STACK_MAX, NULL);
	check(scratch->data);
	check(scratch->context);
	pcre2_set_match_limit(scratch->context, MATCH_MAX);
	pcre2_set_depth_limit(scratch->context, DEPTH_MAX);
	pcre2_set_heap_limit(scratch->context, HEAP_MAX);
	if (scratch->stack)
		pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
	return scratch;
}

void
pattern_scratch_free(struct pattern_scratch *scratch)
{
	if (!scratch)
		return;
	pcre2_match_data_free(scratch->data);
	pcre2_match_context_free(scratch->context);
	pcre2_jit_stack_free(scratch->stack);
	free(scratch);
}
