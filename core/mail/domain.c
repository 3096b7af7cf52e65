/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name without bytes over 127 is only lowered and looked at: letters, digits,
 * hyphens that do not stand at a label's ends, and underscores, which are in no
 * standard for hosts but in many zones. Any other goes through libidn2 first
 * (IDNA2008, Unicode TR46 non-transitional: the mapping browsers use, so "Straße"
 * stays apart from "strasse") and is then looked at just as hard: the ideographic
 * full stop, for one, comes out as a dot.
 */
#include "mail/domain.h"

#include <idn2.h>

#define TEXT_MAX   1000         /* of UTF-8, before it becomes A-labels */
#define TEXT_ASCII_MAX  253          /* RFC 1035: 255 with its lengths on the wire */
#define LABEL_BYTES_MAX 63

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Of a label, once it is lowered. */
static const bool in_label[256] = { ['a' ... 'z'] = true, ['0' ... '9'] = true, ['-'] = true, ['_'] = true };

/* What is wrong with it in a few words; NULL: nothing. */
static const char *
label_fault(struct span label)
{
	if (label.n == 0)
		return "an empty label";
	if (label.n > LABEL_BYTES_MAX)
		return "a label of over 63 bytes";
	if (label.p[0] == '-' || label.p[label.n - 1] == '-')
		return "a hyphen at a label's end";
	for (size_t i = 0; i < label.n; i++)
		if (!in_label[(unsigned char)label.p[i]])
			return "a character that no domain has";
	return NULL;
}

/* Takes ASCII text of any case. */
static const char *
name_put(struct span text, char out[DOMAIN_MAX])
{
	if (text.n && text.p[text.n - 1] == '.')
		text.n--;
	if (text.n == 0)
		return "it is empty";
	if (text.n > TEXT_ASCII_MAX)
		return "over 253 bytes";
	for (size_t i = 0; i < text.n; i++)
		out[i] = lower(text.p[i]);
	out[text.n] = '\0';

	struct span rest = span_make(out, text.n);
	for (;;) {
		size_t dot = span_find(rest, '.');
		const char *fault = label_fault(dot == SIZE_MAX ? rest : span_first(rest, dot));
		if (fault || dot == SIZE_MAX)
			return fault;
		rest = span_from(rest, dot + 1);
	}
}

/* "[192.0.2.1]", "[IPv6:…]", "[tag:text]": what is inside is the connecting side's to judge. */
static const char *
literal_put(struct span text, char out[DOMAIN_MAX])
{
	if (text.n < 3 || text.p[text.n - 1] != ']')
		return "no closing bracket";
	if (text.n >= DOMAIN_MAX)
		return "too long a literal";
	for (size_t i = 1; i < text.n - 1; i++) {
		char c = lower(text.p[i]);
		if (!alnum(c) && c != '.' && c != ':' && c != '-')
			return "a character that no address has";
		out[i] = c;
	}
	out[0] = '[';
	out[text.n - 1] = ']';
	out[text.n] = '\0';
	return NULL;
}

static const char *
idn_put(struct span text, char out[DOMAIN_MAX])
{
	char *utf8 = mem_strndup(text.p, text.n);
	uint8_t *ascii = NULL;
	const char *fault = NULL;

	int rc = idn2_lookup_u8((const uint8_t *)utf8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (rc == IDN2_OK)
		fault = name_put(span_text((const char *)ascii), out);
	else
		fault = idn2_strerror(rc);
	idn2_free(ascii);
	free(utf8);
	return fault;
}

bool
domain_normalize(struct span domain, char out[DOMAIN_MAX], struct err *err)
{
	const char *fault;
	out[0] = '\0';
	if (domain.n > TEXT_MAX)
		fault = "too long";
	else if (span_find(domain, '\0') != SIZE_MAX)
		fault = "a NUL";
	else if (domain.n && domain.p[0] == '[')
		fault = literal_put(domain, out);
	else if (span_is_ascii(domain))
		fault = name_put(domain, out);
	else
		fault = idn_put(domain, out);
	if (!fault)
		return true;
	out[0] = '\0';
	return err_set(err, ERR_PERM, "not a domain name: %s", fault);
}

bool
domain_pattern_parse(struct span text, struct domain_pattern *out, struct err *err)
{
	struct span name = text;
	memset(out, 0, sizeof(*out));
	if (span_eq(text, SPAN("*"))) {
		out->kind = DOMAIN_ALL;
		return true;
	}
	if (span_starts(text, SPAN("[*.]"))) {
		out->kind = DOMAIN_BOTH;
		name = span_from(text, 4);
	} else if (span_starts(text, SPAN("*."))) {
		out->kind = DOMAIN_SUBDOMAINS;
		name = span_from(text, 2);
	}
	if (span_find(name, '*') != SIZE_MAX)
		return err_set(err, ERR_PERM, "\"%.*s\": a '*' stands alone, or in front as \"*.\" or \"[*.]\"",
			       (int)(text.n < 100 ? text.n : 100), text.p);
	if (out->kind != DOMAIN_EXACT && name.n && name.p[0] == '[')
		return err_set(err, ERR_PERM, "\"%.*s\": an address has no subdomains",
			       (int)(text.n < 100 ? text.n : 100), text.p);
	if (!domain_normalize(name, out->name, err))
		return err_prefix(err, "\"%.*s\": ", (int)(text.n < 100 ? text.n : 100), text.p);
	return true;
}

static bool
is_below(struct span domain, struct span name)
{
	return domain.n > name.n && domain.p[domain.n - name.n - 1] == '.' &&
	       memcmp(domain.p + domain.n - name.n, name.p, name.n) == 0;
}

bool
domain_pattern_matches(const struct domain_pattern *pattern, struct span domain)
{
	struct span name = span_text(pattern->name);
	switch (pattern->kind) {
	case DOMAIN_ALL:
		return true;
	case DOMAIN_EXACT:
		return span_eq(domain, name);
	case DOMAIN_SUBDOMAINS:
		return is_below(domain, name);
	case DOMAIN_BOTH:
		return span_eq(domain, name) || is_below(domain, name);
	}
	return false;
}
