/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyword stands at the line's start, blanks or tabs follow it, the rest of the line
 * behind the address is ignored: as glibc reads it. Everything else there (search lists,
 * ndots) would change which name is asked, and mail asks for exactly the name it has.
 */
#include "net/resolver_conf.h"

unsigned
resolver_conf_servers(struct span text, struct endpoint out[RESOLVER_SERVERS_MAX])
{
	static const struct span keyword = { "nameserver", 10 };
	struct span line;
	unsigned n = 0;

	while (n < RESOLVER_SERVERS_MAX && span_split(&text, '\n', &line)) {
		if (!span_starts(line, keyword) || line.n == keyword.n)
			continue;
		struct span rest = span_from(line, keyword.n);
		if (rest.p[0] != ' ' && rest.p[0] != '\t')
			continue;
		rest = span_trim(rest);
		size_t end = 0;
		while (end < rest.n && rest.p[end] > ' ')
			end++;
		out[n].port = 53;
		if (ip_parse(span_first(rest, end), &out[n].ip))
			n++;
	}
	return n;
}
