/*
 * The arrays are made by the Makefile with od and sed, which every system has.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/embedded.h"

#include "embedded_lua.h"

struct span
embedded_lua(struct span module)
{
	for (size_t i = 0; i < countof(embedded_files); i++)
		if (span_eq(module, span_text(embedded_files[i].name)))
			return span_make(embedded_files[i].p, embedded_files[i].n);
	return span_make(NULL, 0);
}
