/*
 * crc64.h - the checksum of RDB files and DUMP payloads: CRC-64/Jones as Redis uses it
 * (reflected polynomial 0x95ac9329ac4bc9b5, start 0, no final inversion;
 * crc64("123456789") = e9c6d914c4b8d9ca).
 */
#ifndef MB_REDIS_CRC64_H
#define MB_REDIS_CRC64_H

#include <stddef.h>
#include <stdint.h>

uint64_t mb_crc64(uint64_t crc, const void *data, size_t len);

#endif
