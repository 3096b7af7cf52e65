# SPDX-License-Identifier: Apache-2.0
"""A spool's records as they lie in its files, for tests that damage or forge them: core/spool/spool_record.c."""

HEADER, CRC_AT, FIXED = 32, 28, 32


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
