/*
 * crc - CRC-32C (Castagnoli; RFC 3720, appendix B.4), in hardware where the
 * processor has it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

uint32_t crc32c(uint32_t crc, struct span bytes);       /* begin with crc = 0 */

/* The same without the instruction. */
uint32_t crc32c_portable(uint32_t crc, struct span bytes);
