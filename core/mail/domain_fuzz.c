/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/domain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A normal form is its own normal form, and matches itself. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char once[DOMAIN_MAX], twice[DOMAIN_MAX];
	struct domain_pattern pattern;
	struct err err;

	domain_pattern_parse(span_make(data, size), &pattern, &err);
	if (!domain_normalize(span_make(data, size), once, &err))
		return 0;
	check(strlen(once) < DOMAIN_MAX);
	check(domain_normalize(span_text(once), twice, &err));
	check(strcmp(once, twice) == 0);
	check(domain_pattern_parse(span_text(once), &pattern, &err));
	check(domain_pattern_matches(&pattern, span_text(once)));
	return 0;
}
