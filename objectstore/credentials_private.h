/*
 * credentials_private.h - the sources of credentials, as credentials.c asks them.
 *
 * A source answers MB_NOT_FOUND when it is not set up (the message names the place that was looked
 * at; the next source is asked), any other error when it is set up but does not work.  Called under
 * the lock of the credentials.
 */
#ifndef MB_OBJECTSTORE_CREDENTIALS_PRIVATE_H
#define MB_OBJECTSTORE_CREDENTIALS_PRIVATE_H

#include "objectstore/credentials.h"

struct mb_found_keys
{
	struct mb_s3_keys keys; /* an empty access key: sign nothing */
	int64_t expires_us;     /* 0: never */
};
void mb_found_keys_release(struct mb_found_keys *found);

/*
 * Keys from the JSON that credential_process, containers and instances answer: AccessKeyId,
 * SecretAccessKey, SessionToken or Token, Expiration.  MB_CORRUPT naming `what`.
 */
enum mb_code mb_found_keys_parse(struct mb_found_keys *found, const void *data, size_t len,
								 const char *what, struct mb_error *err) MB_MUST_CHECK;

/* credentials_profile.c */
enum mb_code mb_keys_from_profile(const struct mb_credentials_options *options,
								  struct mb_found_keys *found, struct mb_error *err) MB_MUST_CHECK;
/* credentials_http.c */
enum mb_code mb_keys_from_web_identity(const struct mb_credentials_options *options,
									   struct mb_found_keys *found,
									   struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_keys_from_container(const struct mb_credentials_options *options,
									struct mb_found_keys *found,
									struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_keys_from_instance(const struct mb_credentials_options *options,
								   struct mb_found_keys *found, struct mb_error *err) MB_MUST_CHECK;

#endif
