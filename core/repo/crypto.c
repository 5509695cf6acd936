/* crypto.c - see crypto.h; the only file that includes OpenSSL's ciphers. */
#include "core/repo/crypto.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"

#define NONCE_BYTES 12
#define SCRYPT_MAX_N ((uint64_t) 1 << 20)
#define SCRYPT_MAX_R 64
#define SCRYPT_MAX_P 64
#define SCRYPT_MAX_BYTES ((uint64_t) 1 << 30) /* 128 * n * r */
#define SCRYPT_MAX_WORK ((uint64_t) 1 << 26)  /* n * r * p */

struct mb_aead
{
	EVP_CIPHER_CTX *seal;
	EVP_CIPHER_CTX *open;
};

static void
must(int ok, const char *what)
{
	if (ok != 1)
		MB_BUG("OpenSSL: %s failed", what);
}

struct mb_aead *
mb_aead_new(const unsigned char key[MB_KEY_BYTES])
{
	struct mb_aead *aead = mb_calloc(1, sizeof(*aead));

	aead->seal = EVP_CIPHER_CTX_new();
	aead->open = EVP_CIPHER_CTX_new();
	MB_ASSERT(aead->seal && aead->open);
	must(EVP_EncryptInit_ex(aead->seal, EVP_aes_256_gcm(), NULL, key, NULL), "AES-256-GCM");
	must(EVP_DecryptInit_ex(aead->open, EVP_aes_256_gcm(), NULL, key, NULL), "AES-256-GCM");
	return aead;
}

void
mb_aead_free(struct mb_aead *aead)
{
	if (!aead)
		return;
	/* OpenSSL cleanses the key schedule. */
	EVP_CIPHER_CTX_free(aead->seal);
	EVP_CIPHER_CTX_free(aead->open);
	free(aead);
}

static void
make_nonce(unsigned char nonce[NONCE_BYTES], uint64_t number)
{
	memset(nonce, 0, NONCE_BYTES);
	mb_set_u64(nonce + 4, number);
}

void
mb_aead_seal(struct mb_aead *aead, uint64_t number, const void *ad, size_t ad_len, const void *in,
			 size_t len, void *out, unsigned char tag[MB_TAG_BYTES])
{
	unsigned char nonce[NONCE_BYTES];
	int done = 0;

	MB_ASSERT(len <= INT32_MAX && ad_len <= INT32_MAX);
	make_nonce(nonce, number);
	must(EVP_EncryptInit_ex(aead->seal, NULL, NULL, NULL, nonce), "nonce");
	if (ad_len)
		must(EVP_EncryptUpdate(aead->seal, NULL, &done, ad, (int) ad_len), "additional data");
	if (len)
		must(EVP_EncryptUpdate(aead->seal, out, &done, in, (int) len), "encryption");
	must(EVP_EncryptFinal_ex(aead->seal, (unsigned char *) out + len, &done), "encryption");
	must(EVP_CIPHER_CTX_ctrl(aead->seal, EVP_CTRL_AEAD_GET_TAG, MB_TAG_BYTES, tag), "tag");
}

enum mb_code
mb_aead_open(struct mb_aead *aead, uint64_t number, const void *ad, size_t ad_len, const void *in,
			 size_t len, void *out, const unsigned char tag[MB_TAG_BYTES], struct mb_error *err)
{
	unsigned char nonce[NONCE_BYTES];
	unsigned char tag_copy[MB_TAG_BYTES];
	int done = 0;

	MB_ASSERT(len <= INT32_MAX && ad_len <= INT32_MAX);
	make_nonce(nonce, number);
	memcpy(tag_copy, tag, MB_TAG_BYTES);
	must(EVP_DecryptInit_ex(aead->open, NULL, NULL, NULL, nonce), "nonce");
	if (ad_len)
		must(EVP_DecryptUpdate(aead->open, NULL, &done, ad, (int) ad_len), "additional data");
	if (len)
		must(EVP_DecryptUpdate(aead->open, out, &done, in, (int) len), "decryption");
	must(EVP_CIPHER_CTX_ctrl(aead->open, EVP_CTRL_AEAD_SET_TAG, MB_TAG_BYTES, tag_copy), "tag");
	if (EVP_DecryptFinal_ex(aead->open, (unsigned char *) out + len, &done) != 1)
	{
		/* Nobody may use what was not authentic. */
		memset(out, 0, len);
		return mb_fail(err, MB_CORRUPT, "authentication failed");
	}
	return MB_OK;
}

static void
hmac(unsigned char out[MB_SHA256_BYTES], const void *key, size_t key_len, const void *data,
	 size_t len)
{
	unsigned out_len = MB_SHA256_BYTES;

	if (!HMAC(EVP_sha256(), key_len ? key : "", (int) key_len, data, len, out, &out_len))
		MB_BUG("OpenSSL: HMAC failed");
}

void
mb_hkdf(unsigned char out[MB_KEY_BYTES], const void *key, size_t key_len, const void *salt,
		size_t salt_len, const void *info, size_t info_len)
{
	unsigned char prk[MB_SHA256_BYTES];
	struct mb_buf block = {0};

	hmac(prk, salt, salt_len, key_len ? key : "", key_len);
	/* One block of the expansion is all we ever need. */
	mb_buf_put(&block, info, info_len);
	mb_buf_put_u8(&block, 1);
	hmac(out, prk, sizeof(prk), block.data, block.len);
	mb_buf_release(&block);
	mb_wipe(prk, sizeof(prk));
}

enum mb_code
mb_scrypt(unsigned char out[MB_KEY_BYTES], const void *pass, size_t pass_len, const void *salt,
		  size_t salt_len, uint64_t n, uint32_t r, uint32_t p, struct mb_error *err)
{
	uint64_t bytes;

	if (n < 2 || (n & (n - 1)) != 0 || r == 0 || p == 0)
		return mb_fail(err, MB_CORRUPT, "scrypt parameters n=%llu r=%u p=%u make no sense",
					   (unsigned long long) n, r, p);
	if (n > SCRYPT_MAX_N || r > SCRYPT_MAX_R || p > SCRYPT_MAX_P ||
		128 * n * r > SCRYPT_MAX_BYTES || n * r * p > SCRYPT_MAX_WORK)
		return mb_fail(err, MB_UNSUPPORTED, "scrypt parameters n=%llu r=%u p=%u are too large",
					   (unsigned long long) n, r, p);
	/* What OpenSSL counts: V, B and some working space. */
	bytes = 128 * n * r + 128 * (uint64_t) r * p + 1024 * (uint64_t) r + (1 << 20);
	must(EVP_PBE_scrypt(pass_len ? pass : "", pass_len, salt, salt_len, n, r, p, bytes, out,
						MB_KEY_BYTES),
		 "scrypt");
	return MB_OK;
}

void
mb_sha256(unsigned char out[MB_SHA256_BYTES], const void *data, size_t len)
{
	SHA256(data, len, out);
}

void
mb_hmac_sha256(unsigned char out[MB_SHA256_BYTES], const void *key, size_t key_len,
			   const void *data, size_t len)
{
	unsigned int out_len = MB_SHA256_BYTES;

	must(HMAC(EVP_sha256(), key, (int) key_len, data, len, out, &out_len) != NULL, "HMAC");
}

void
mb_md5(unsigned char out[MB_MD5_BYTES], const void *data, size_t len)
{
	must(EVP_Digest(data, len, out, NULL, EVP_md5(), NULL), "MD5");
}

/* The context itself, under a name of ours. */
struct mb_md5_sum *
mb_md5_new(void)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	MB_ASSERT(context != NULL);
	must(EVP_DigestInit_ex(context, EVP_md5(), NULL), "MD5");
	return (struct mb_md5_sum *) context;
}

void
mb_md5_add(struct mb_md5_sum *sum, const void *data, size_t len)
{
	must(EVP_DigestUpdate((EVP_MD_CTX *) sum, data, len), "MD5");
}

void
mb_md5_end(struct mb_md5_sum *sum, unsigned char out[MB_MD5_BYTES])
{
	EVP_MD_CTX *context = (EVP_MD_CTX *) sum;

	if (!context)
		return;
	if (out)
		must(EVP_DigestFinal_ex(context, out, NULL), "MD5");
	EVP_MD_CTX_free(context);
}

struct mb_sha256_sum *
mb_sha256_new(void)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	MB_ASSERT(context != NULL);
	must(EVP_DigestInit_ex(context, EVP_sha256(), NULL), "SHA-256");
	return (struct mb_sha256_sum *) context;
}

void
mb_sha256_add(struct mb_sha256_sum *sum, const void *data, size_t len)
{
	must(EVP_DigestUpdate((EVP_MD_CTX *) sum, data, len), "SHA-256");
}

void
mb_sha256_end(struct mb_sha256_sum *sum, unsigned char out[MB_SHA256_BYTES])
{
	EVP_MD_CTX *context = (EVP_MD_CTX *) sum;

	if (!context)
		return;
	if (out)
		must(EVP_DigestFinal_ex(context, out, NULL), "SHA-256");
	EVP_MD_CTX_free(context);
}

/* -- the format of openssl enc --------------------------------------------------------------- */

#define ENC_ROUNDS 10000 /* the default of -pbkdf2: another number would have to be told */
#define ENC_VECTOR_BYTES 16

struct mb_enc *
mb_enc_new(enum mb_enc_way way, const void *pass, size_t pass_len,
		   const unsigned char salt[MB_ENC_SALT_BYTES])
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	unsigned char made[MB_KEY_BYTES + ENC_VECTOR_BYTES];

	MB_ASSERT(context != NULL && pass_len <= MB_SECRET_MAX);
	must(PKCS5_PBKDF2_HMAC(pass_len ? pass : "", (int) pass_len, salt, MB_ENC_SALT_BYTES,
						   ENC_ROUNDS, EVP_sha256(), sizeof(made), made),
		 "PBKDF2");
	must(EVP_CipherInit_ex(context, EVP_aes_256_cbc(), NULL, made, made + MB_KEY_BYTES,
						   way == MB_ENC_ENCRYPT),
		 "AES-256-CBC");
	mb_wipe(made, sizeof(made));
	return (struct mb_enc *) context;
}

size_t
mb_enc_update(struct mb_enc *enc, const void *in, size_t len, void *out)
{
	int done = 0;

	MB_ASSERT(len <= INT32_MAX - MB_ENC_BLOCK_BYTES);
	must(EVP_CipherUpdate((EVP_CIPHER_CTX *) enc, out, &done, in, (int) len), "AES-256-CBC");
	return (size_t) done;
}

enum mb_code
mb_enc_finish(struct mb_enc *enc, void *out, size_t *len, struct mb_error *err)
{
	int done = 0;

	if (EVP_CipherFinal_ex((EVP_CIPHER_CTX *) enc, out, &done) != 1)
		return mb_fail(err, MB_CORRUPT, "the end cannot be decrypted");
	*len = (size_t) done;
	return MB_OK;
}

void
mb_enc_free(struct mb_enc *enc)
{
	/* OpenSSL cleanses the key schedule. */
	EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *) enc);
}
