/*
 * hash.h - the checksums of the format: XXH3-128 (frames), XXH3-64 with a seed
 * (pages), CRC-32C (Postgres: pg_control, backup_manifest).  None of them is
 * cryptographic; see core/repo/crypto.h for those.
 */
#ifndef MB_BASE_HASH_H
#define MB_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define MB_XXH128_BYTES 16

/* Canonical (big-endian) XXH3-128 of data, as `xxhsum -H2` prints it. */
void mb_xxh128(unsigned char out[MB_XXH128_BYTES], const void *data, size_t len);
/* The same over two pieces, as if they stood behind each other. */
void mb_xxh128_2(unsigned char out[MB_XXH128_BYTES], const void *a, size_t a_len, const void *b,
				 size_t b_len);
uint64_t mb_xxh64_seed(const void *data, size_t len, uint64_t seed);

/* CRC-32C (Castagnoli, reflected 0x82F63B78) with Postgres's start and final inversion. */
#define MB_CRC32C_INIT 0u
uint32_t mb_crc32c(uint32_t crc, const void *data, size_t len);
/* CRC of A followed by B from crc(A), crc(B) and the length of B. */
uint32_t mb_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t b_len);

#endif
