/* crypto_test.c - published vectors of scrypt, HKDF, AES-256-GCM and SHA-256. */
#include "tests/lib/repo_fixture.h"

#include "core/repo/crypto.h"

static void
assert_hex(const unsigned char *data, size_t len, const char *want)
{
	char hex[129];

	assert_true(len <= 64);
	mb_hex(hex, data, len);
	assert_string_equal(hex, want);
}

/* RFC 7914, section 12; we take the first 32 of 64 bytes (PBKDF2 gives them block by block). */
static void
scrypt_vectors(void **state)
{
	unsigned char out[MB_KEY_BYTES];
	struct mb_error err;

	(void) state;
	assert_ok(mb_scrypt(out, "", 0, "", 0, 16, 1, 1, &err), err);
	assert_hex(out, 32, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442");
	assert_ok(mb_scrypt(out, "password", 8, "NaCl", 4, 1024, 8, 16, &err), err);
	assert_hex(out, 32, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162");
	assert_ok(mb_scrypt(out, "pleaseletmein", 13, "SodiumChloride", 14, 16384, 8, 1, &err), err);
	assert_hex(out, 32, "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

static void
scrypt_limits(void **state)
{
	unsigned char out[MB_KEY_BYTES];
	struct mb_error err;

	(void) state;
	assert_code(MB_UNSUPPORTED, mb_scrypt(out, "x", 1, "y", 1, 1 << 21, 8, 1, &err), err);
	assert_code(MB_UNSUPPORTED, mb_scrypt(out, "x", 1, "y", 1, 1 << 20, 64, 1, &err), err);
	assert_code(MB_UNSUPPORTED, mb_scrypt(out, "x", 1, "y", 1, 16, 65, 1, &err), err);
	assert_code(MB_UNSUPPORTED, mb_scrypt(out, "x", 1, "y", 1, 16, 1, 65, &err), err);
	assert_code(MB_UNSUPPORTED, mb_scrypt(out, "x", 1, "y", 1, 1ULL << 63, 64, 64, &err), err);
	assert_code(MB_CORRUPT, mb_scrypt(out, "x", 1, "y", 1, 1000, 8, 1, &err), err);
	assert_code(MB_CORRUPT, mb_scrypt(out, "x", 1, "y", 1, 16, 0, 1, &err), err);
}

/* RFC 5869, appendix A.1 to A.3, the first 32 bytes. */
static void
hkdf_vectors(void **state)
{
	unsigned char ikm[80], salt[80], info[80], out[MB_KEY_BYTES];
	int i;

	(void) state;
	memset(ikm, 0x0b, 22);
	for (i = 0; i < 13; i++)
		salt[i] = (unsigned char) i;
	for (i = 0; i < 10; i++)
		info[i] = (unsigned char) (0xf0 + i);
	mb_hkdf(out, ikm, 22, salt, 13, info, 10);
	assert_hex(out, 32, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
	for (i = 0; i < 80; i++)
	{
		ikm[i] = (unsigned char) i;
		salt[i] = (unsigned char) (0x60 + i);
		info[i] = (unsigned char) (0xb0 + i);
	}
	mb_hkdf(out, ikm, 80, salt, 80, info, 80);
	assert_hex(out, 32, "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c");
	memset(ikm, 0x0b, 22);
	mb_hkdf(out, ikm, 22, NULL, 0, NULL, 0);
	assert_hex(out, 32, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}

/* The GCM specification's test cases 13 and 14: zero key, zero nonce. */
static void
gcm_vectors(void **state)
{
	unsigned char key[MB_KEY_BYTES] = {0}, plain[16] = {0}, out[16], tag[MB_TAG_BYTES];
	struct mb_aead *aead = mb_aead_new(key);
	struct mb_error err;

	(void) state;
	mb_aead_seal(aead, 0, NULL, 0, NULL, 0, out, tag);
	assert_hex(tag, 16, "530f8afbc74536b9a963b4f1c4cb738b");
	mb_aead_seal(aead, 0, NULL, 0, plain, 16, out, tag);
	assert_hex(out, 16, "cea7403d4d606b6e074ec5d3baf39d18");
	assert_hex(tag, 16, "d0d1c8a799996bf0265b98b5d48ab919");
	assert_ok(mb_aead_open(aead, 0, NULL, 0, out, 16, out, tag, &err), err);
	assert_memory_equal(out, plain, 16);
	mb_aead_free(aead);
	mb_aead_free(NULL);
}

static void
gcm_notices_every_change(void **state)
{
	unsigned char key[MB_KEY_BYTES], in[100], sealed[100], out[100], tag[MB_TAG_BYTES];
	struct mb_aead *aead;
	struct mb_error err;
	size_t bit;

	(void) state;
	fill_random(key, sizeof(key), 1);
	fill_random(in, sizeof(in), 2);
	aead = mb_aead_new(key);
	mb_aead_seal(aead, 7, "ad", 2, in, sizeof(in), sealed, tag);
	assert_ok(mb_aead_open(aead, 7, "ad", 2, sealed, sizeof(in), out, tag, &err), err);
	assert_memory_equal(in, out, sizeof(in));
	assert_code(MB_CORRUPT, mb_aead_open(aead, 8, "ad", 2, sealed, 100, out, tag, &err), err);
	assert_code(MB_CORRUPT, mb_aead_open(aead, 7, "aD", 2, sealed, 100, out, tag, &err), err);
	assert_code(MB_CORRUPT, mb_aead_open(aead, 7, "ad", 2, sealed, 99, out, tag, &err), err);
	for (bit = 0; bit < 8 * sizeof(sealed); bit++)
	{
		sealed[bit / 8] ^= (unsigned char) (1u << (bit % 8));
		assert_code(MB_CORRUPT, mb_aead_open(aead, 7, "ad", 2, sealed, 100, out, tag, &err), err);
		sealed[bit / 8] ^= (unsigned char) (1u << (bit % 8));
	}
	assert_ok(mb_aead_open(aead, 7, "ad", 2, sealed, sizeof(in), out, tag, &err), err);
	mb_aead_free(aead);
}

static void
sha256_vector(void **state)
{
	unsigned char out[MB_SHA256_BYTES];

	(void) state;
	mb_sha256(out, "abc", 3);
	assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scrypt_vectors),
		cmocka_unit_test(scrypt_limits),
		cmocka_unit_test(hkdf_vectors),
		cmocka_unit_test(gcm_vectors),
		cmocka_unit_test(gcm_notices_every_change),
		cmocka_unit_test(sha256_vector),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
