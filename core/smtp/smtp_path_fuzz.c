/*
 * A path that was accepted holds nothing that could end a command, and its address is
 * accepted alone, too.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make(data, size), rest = in;
	struct smtp_path path, again;
	char *decoded = mem_alloc(size + 1);

	if (!smtp_path_parse(&rest, true, &path)) {
		check(rest.n < in.n);
		check(rest.p[-1] == '>');
		check(path.whole.n <= SMTP_PATH_MAX);
		for (size_t i = 0; i < path.whole.n; i++)
			check((unsigned char)path.whole.p[i] >= ' ' && path.whole.p[i] != 0x7F);
		if (path.whole.n > 0) {
			check(!smtp_path_parse_bare(path.whole, &again));
			check(span_eq(path.domain, again.domain));
			check(path.utf8 == again.utf8);
		}
	}
	smtp_path_parse_bare(in, &path);
	smtp_domain_ok(in);
	if (smtp_xtext_ok(in))
		check(smtp_xtext_decode(in, decoded) <= size);
	smtp_xtext_decode(in, decoded);
	free(decoded);
	return 0;
}
