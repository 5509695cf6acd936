/*
 * crypto.h - the few cryptographic functions the format needs, over OpenSSL's EVP.
 * crypto.c is the only file that includes OpenSSL.
 *
 * Failures of the library itself (no AES, no memory) are bugs of the installation
 * and abort; the only expected failure is that a tag does not match.
 */
#ifndef MB_REPO_CRYPTO_H
#define MB_REPO_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#define MB_KEY_BYTES 32
#define MB_TAG_BYTES 16
#define MB_SHA256_BYTES 32

/*
 * AES-256-GCM (NIST SP 800-38D) with a 96-bit nonce made of 4 zero bytes and the
 * little-endian u64 number.  One context serves one key; contexts are not shared
 * between threads.
 */
struct mb_aead;
struct mb_aead *mb_aead_new(const unsigned char key[MB_KEY_BYTES]);
void mb_aead_free(struct mb_aead *aead); /* wipes the key; NULL does nothing */
/* in and out may be the same; out gets len bytes, tag MB_TAG_BYTES. */
void mb_aead_seal(struct mb_aead *aead, uint64_t nonce, const void *ad, size_t ad_len,
				  const void *in, size_t len, void *out, unsigned char tag[MB_TAG_BYTES]);
/* MB_CORRUPT (message left to the caller: "authentication failed") when the tag does not match. */
enum mb_code mb_aead_open(struct mb_aead *aead, uint64_t nonce, const void *ad, size_t ad_len,
						  const void *in, size_t len, void *out,
						  const unsigned char tag[MB_TAG_BYTES],
						  struct mb_error *err) MB_MUST_CHECK;

/* HKDF-SHA-256 (RFC 5869), extract and expand. */
void mb_hkdf(unsigned char out[MB_KEY_BYTES], const void *key, size_t key_len, const void *salt,
			 size_t salt_len, const void *info, size_t info_len);

/*
 * scrypt (RFC 7914).  n is a power of two; MB_UNSUPPORTED above n = 2^20, r or p = 64, 1 GiB of
 * memory (128 n r), or n r p = 2^26: a slot from a hostile store must not cost more than that.
 */
enum mb_code mb_scrypt(unsigned char out[MB_KEY_BYTES], const void *pass, size_t pass_len,
					   const void *salt, size_t salt_len, uint64_t n, uint32_t r, uint32_t p,
					   struct mb_error *err) MB_MUST_CHECK;

void mb_sha256(unsigned char out[MB_SHA256_BYTES], const void *data, size_t len);

/* HMAC-SHA-256 (RFC 2104) and MD5 (RFC 1321): for protocols that ask for them (S3). */
#define MB_MD5_BYTES 16
void mb_hmac_sha256(unsigned char out[MB_SHA256_BYTES], const void *key, size_t key_len,
					const void *data, size_t len);
void mb_md5(unsigned char out[MB_MD5_BYTES], const void *data, size_t len);

/* MD5 over pieces: the ETag of a multipart upload. */
struct mb_md5_sum;
struct mb_md5_sum *mb_md5_new(void);
void mb_md5_add(struct mb_md5_sum *sum, const void *data, size_t len);
void mb_md5_end(struct mb_md5_sum *sum,
				unsigned char out[MB_MD5_BYTES]); /* frees it; out may be NULL */

#endif
