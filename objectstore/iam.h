/*
 * iam.h - MinIO's identities (policies, users, groups, service accounts, and who has which policy) as
 * one document.
 *
 * MinIO exports a zip archive of iam-assets/<section>.json, each an object by name:
 *     policies {name: policy}                 users {name: {secretKey, status}}
 *     groups {name: {status, members}}        svcaccts {key: {parent, secretKey, status, ...}}
 *     user_mappings, group_mappings, stsuser_mappings {name: {policy}}
 * with secrets in plain text.  The order of its sets is another one each time, and times are those
 * of the last import: the document here is {section: {...}} without these, so that two of them
 * are equal when the identities are.  Sections that a newer server adds are kept as they are.
 *
 * A document holds secrets: what is shown of it is a summary or a difference, which hold none.
 */
#ifndef MB_OBJECTSTORE_IAM_H
#define MB_OBJECTSTORE_IAM_H

#include "core/base/json.h"
#include "core/base/mem.h"

#define MB_IAM_MAX_BYTES (32u << 20) /* of a document, and of all members of an archive */

/*
 * From the archive that a server exports.  MB_CORRUPT: it is none, or a section is missing, which
 * is how an export that failed half-way looks.  *iam is owned by the caller.  Messages quote nothing
 * of the contents.
 */
enum mb_code mb_iam_from_zip(json_t **iam, const void *data, size_t len,
							 struct mb_error *err) MB_MUST_CHECK;
/* An archive that a server imports; appended to out, to be wiped (mb_buf_wipe). */
enum mb_code mb_iam_to_zip(const json_t *iam, struct mb_buf *out,
						   struct mb_error *err) MB_MUST_CHECK;

/* As text, with sorted names: equal documents have equal bytes.  To be wiped. */
void mb_iam_text(const json_t *iam, struct mb_buf *out);
enum mb_code mb_iam_parse(json_t **iam, const void *data, size_t len,
						  struct mb_error *err) MB_MUST_CHECK;

/* Is the group, user or service account of this name disabled? */
bool mb_iam_is_disabled(const json_t *iam, const char *section, const char *name);

/*
 * What may be shown, a new reference:
 *     {"policies": [name...], "users": [{name, status, policy}...],
 *      "groups": [{name, status, members, policy}...],
 *      "service_accounts": [{access_key, name, parent, status, expires}...],
 *      "session_policies": [{name, policy}...]}
 */
json_t *mb_iam_summary(const json_t *iam);
/*
 * A list, a new reference: {"kind": "missing"|"changed"|"extra", "what": "user", "name",
 * "fields": [names of what is otherwise]}; missing: `was` has it, `is` does not.
 */
json_t *mb_iam_differences(const json_t *was, const json_t *is);

#endif
