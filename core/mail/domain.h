/*
 * domain - names of hosts and domains: normal form, patterns, IDN.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"
#include "util/span.h"

#define DOMAIN_MAX 256

/* Lower case, no final dot, IDN to A-labels (libidn2, IDNA2008 non-transitional);
 * an address literal keeps its brackets, lower case. ERR_PERM: not a name. */
bool domain_normalize(struct span domain, char out[DOMAIN_MAX], struct err *err);

enum domain_pattern_kind { DOMAIN_EXACT, DOMAIN_SUBDOMAINS, DOMAIN_BOTH, DOMAIN_ALL };

struct domain_pattern {
	enum domain_pattern_kind kind;
	char name[DOMAIN_MAX];          /* without "*." or "[*.]"; "" for DOMAIN_ALL */
};

/* "gmail.com", "*.example.com", "[*.]example.com", "*". */
bool domain_pattern_parse(struct span text, struct domain_pattern *out, struct err *err);
/* domain is in normal form. */
bool domain_pattern_matches(const struct domain_pattern *pattern, struct span domain);
