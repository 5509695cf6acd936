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

/* SHA-256 over pieces. */
struct mb_sha256_sum;
struct mb_sha256_sum *mb_sha256_new(void);
void mb_sha256_add(struct mb_sha256_sum *sum, const void *data, size_t len);
void mb_sha256_end(struct mb_sha256_sum *sum,
				   unsigned char out[MB_SHA256_BYTES]); /* frees it; out may be NULL */

/*
 * The format of `openssl enc -aes-256-cbc -pbkdf2`: "Salted__", 8 bytes of salt, AES-256-CBC with
 * PKCS#7 padding; key and vector by PBKDF2-HMAC-SHA-256 of the passphrase, 10,000 rounds.  For
 * archives that must open without us; it authenticates nothing (the repository's own format does).
 */
#define MB_ENC_MAGIC "Salted__"
#define MB_ENC_SALT_BYTES 8
#define MB_ENC_HEADER_BYTES 16
#define MB_ENC_BLOCK_BYTES 16

enum mb_enc_way
{
	MB_ENC_DECRYPT,
	MB_ENC_ENCRYPT
};
struct mb_enc;
struct mb_enc *mb_enc_new(enum mb_enc_way way, const void *pass, size_t pass_len,
						  const unsigned char salt[MB_ENC_SALT_BYTES]);
/* out has room for len + MB_ENC_BLOCK_BYTES; returns how many bytes it got. */
size_t mb_enc_update(struct mb_enc *enc, const void *in, size_t len, void *out);
/* The last block, at most MB_ENC_BLOCK_BYTES.  MB_CORRUPT: no padding, so wrong or cut off. */
enum mb_code mb_enc_finish(struct mb_enc *enc, void *out, size_t *len,
						   struct mb_error *err) MB_MUST_CHECK;
void mb_enc_free(struct mb_enc *enc); /* wipes the key; NULL does nothing */

#endif
