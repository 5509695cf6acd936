/*
 * credentials.h - where the keys of an object store come from, and when they are renewed.
 *
 * Sources, in the order in which they are asked when none is configured:
 *   settings      access-key with secret-key[-file|-command], optionally session-token
 *   environment   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; then
 *                 MINIO_ROOT_USER, MINIO_ROOT_PASSWORD
 *   profile       AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials) and AWS_CONFIG_FILE
 *                 (~/.aws/config), section of AWS_PROFILE or `profile` (default); credential_process
 *   web identity  AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN: AssumeRoleWithWebIdentity at
 *                 AWS_ENDPOINT_URL_STS or `sts-endpoint` (Version 2011-06-15, unsigned POST)
 *   container     AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI (http://169.254.170.2) with
 *                 AWS_CONTAINER_AUTHORIZATION_TOKEN[_FILE]; plain http only to loopback and
 *                 the link-local addresses of ECS and EKS
 * The instance metadata service is asked only when it was configured (credentials = instance).
 *
 * What expires is fetched again five minutes before; what was read from a file is read
 * again when the server says that it is not valid.  A renewal that fails is no error as long as
 * the old keys are valid.
 *
 * Threads: any; a mutex inside.
 */
#ifndef MB_OBJECTSTORE_CREDENTIALS_H
#define MB_OBJECTSTORE_CREDENTIALS_H

#include "core/base/mem.h"
#include "core/base/pool.h"

/* A copy of the keys of one moment; wiped by mb_keys_release. */
struct mb_s3_keys
{
	struct mb_secret access_key;
	struct mb_secret secret_key;
	struct mb_secret session_token; /* empty: none */
	uint64_t serial;                /* changes with the keys */
};
void mb_s3_keys_release(struct mb_s3_keys *keys);

struct mb_credentials_options
{
	const char *source; /* "auto", "static", "environment", "profile", "web-identity", "container",
						   "instance", "anonymous"; NULL is auto */
	/* static (auto takes them first); borrowed for the call of _new */
	const char *access_key;
	const struct mb_secret *secret_key;
	const struct mb_secret *session_token;
	const char *profile; /* NULL: AWS_PROFILE, or "default" */
	const char
		*sts_endpoint; /* NULL: AWS_ENDPOINT_URL_STS, or https://sts.<region>.amazonaws.com */
	const char *region;
	const char *ca_file;
	const struct mb_cancel *cancel;
};

struct mb_credentials;

/* Copies the options; asks nobody yet. */
struct mb_credentials *mb_credentials_new(const struct mb_credentials_options *options);
/* Keys that are valid now.  MB_CONFIG: there are none (the hint names every place that was
 * looked at); MB_UNREACHABLE: their source cannot be asked; MB_DENIED: it refuses. */
enum mb_code mb_credentials_get(struct mb_credentials *credentials, struct mb_s3_keys *keys,
								struct mb_error *err) MB_MUST_CHECK;
/* The server refused the keys with this serial: fetch new ones the next time. */
void mb_credentials_refused(struct mb_credentials *credentials, uint64_t serial);
void mb_credentials_free(struct mb_credentials *credentials);

#endif
