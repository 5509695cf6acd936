/*
 * repo_fixture.h - repositories in memory and small checks, for tests of core/repo.
 *
 * Every test program includes it once; it has no .c file.
 */
#ifndef MB_TESTS_REPO_FIXTURE_H
#define MB_TESTS_REPO_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/repo/repo_private.h"

#define assert_ok(call, err)                                                            \
	do                                                                                  \
	{                                                                                   \
		enum mb_code assert_ok_code = (call);                                           \
		if (assert_ok_code)                                                             \
			fail_msg("%s: %s: %s", #call, mb_code_name(assert_ok_code), (err).message); \
	} while (0)

#define assert_code(want, call, err)                                                   \
	do                                                                                 \
	{                                                                                  \
		enum mb_code assert_code_got = (call);                                         \
		if (assert_code_got != (want))                                                 \
			fail_msg("%s: got %s, want %s (%s)", #call, mb_code_name(assert_code_got), \
					 mb_code_name(want), assert_code_got ? (err).message : "");        \
		assert_true((err).code == (want) && (err).message[0]);                         \
	} while (0)

#define FIXTURE_KEY "0123456789abcdef0123456789abcdef"

__attribute__((unused)) static void
unlock_by_key_file(struct mb_unlock *unlock, const char *key)
{
	memset(unlock, 0, sizeof(*unlock));
	mb_secret_set(&unlock->key_file, key, strlen(key));
}

__attribute__((unused)) static void
unlock_release(struct mb_unlock *unlock)
{
	mb_secret_release(&unlock->passphrase);
	mb_secret_release(&unlock->key_file);
}

/* A repository in memory; encrypted ones open with FIXTURE_KEY as key file (no scrypt). */
__attribute__((unused)) static struct mb_repo *
memory_repo(enum mb_suite suite)
{
	struct mb_unlock unlock = {0};
	struct mb_error err;
	struct mb_repo *repo = NULL;

	if (suite != MB_SUITE_NONE)
		unlock_by_key_file(&unlock, FIXTURE_KEY);
	assert_ok(mb_repo_create(&repo, mb_store_memory_new(0), suite, &unlock, &err), err);
	unlock_release(&unlock);
	return repo;
}

/* Replace a blob, as damage or an attacker would. */
__attribute__((unused)) static void
replace_blob(struct mb_store *store, const char *name, const void *data, size_t len)
{
	struct mb_error err;

	assert_ok(mb_store_remove(store, &name, 1, &err), err);
	assert_ok(mb_store_put(store, name, data, len, &err), err);
}

/* Bytes that do not compress, the same for the same seed. */
__attribute__((unused)) static void
fill_random(unsigned char *out, size_t len, uint64_t seed)
{
	size_t i;

	seed = seed * 2654435761u + 88172645463325252u;
	for (i = 0; i < len; i++)
	{
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		out[i] = (unsigned char) (seed >> 24);
	}
}

#endif
