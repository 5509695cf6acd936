/*
 * s3_settings.h - from settings to a client: the keys that [repository] and [objects:NAME]
 * share when their url is s3://...
 *
 *     url = s3://bucket/prefix      endpoint = https://minio:9000      region = eu-west-1
 *     addressing = path|virtual     ca-file = /etc/ssl/minio.pem
 *     credentials = auto|environment|profile|web-identity|container|instance|anonymous
 *     access-key = ...   secret-key[-file|-command] = ...   session-token[-file|-command] = ...
 *     profile = ...      sts-endpoint = ...
 */
#ifndef MB_OBJECTSTORE_S3_SETTINGS_H
#define MB_OBJECTSTORE_S3_SETTINGS_H

#include "core/engine/env.h"
#include "objectstore/s3.h"

/* env: cancel, log and patience.  MB_CONFIG for what makes no sense, such as a key without a secret. */
enum mb_code mb_s3_from_settings(struct mb_s3 **s3, const struct mb_settings *settings,
								 const struct mb_env *env, struct mb_error *err) MB_MUST_CHECK;

#endif
