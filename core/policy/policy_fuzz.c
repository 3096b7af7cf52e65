/* Any text as a policy: it loads, or is refused with errors that name a line. What loops or calls itself is left out, for
 * the budget of a load is a second. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include "policy/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_long(struct span text)
{
	static const char *const words[] = { "while", "for", "repeat", "goto", "function", "load", "rep", "gsub" };

	for (unsigned i = 0; i < countof(words); i++)
		if (span_find_text(text, span_text(words[i])) != SIZE_MAX)
			return true;
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_make(data, size);
	struct policy_report report;

	if (size > 4000 || is_long(text))
		return 0;
	struct bundle *bundle = bundle_new("policy.lua", "");
	bundle_put(bundle, "policy.lua", text);
	policy_report_init(&report);
	struct policy *policy = policy_load("policy.lua", &(struct policy_env){ .bundle = bundle, .seed = 1 }, &report);
	check((policy == NULL) == (report.errors_n > 0));
	for (unsigned i = 0; i < report.errors_n; i++) {
		check(report.errors[i].file != NULL && report.errors[i].line >= 0);
		check(report.errors[i].text[0] != '\0');
	}
	policy_report_fini(&report);
	policy_free(policy);
	bundle_free(bundle);
	return 0;
}
