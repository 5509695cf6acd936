/* mask.c - see mask.h: the rules, and which files they are for. */
#include "files/mask.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "files/mask_private.h"

#define KEY_MAX 256

static const char *const built_in[] = {
	[MB_RULE_URL] = "password in a URL",
	[MB_RULE_PRIVATE_KEY] = "private key",
	[MB_RULE_PASSWORD_FILE] = "file of passwords",
	"*password*",
	"*passwd*",
	"*passphrase*",
	"*pass",
	"*_pwd",
	"*secret*",
	"*key*",
	"*token*",
	"*credential*",
	"auth",
	"_auth",
	"masterauth",
	/* nginx: where requests go */
	"!*proxy_pass",
	"!fastcgi_pass",
	"!uwsgi_pass",
	"!scgi_pass",
	"!grpc_pass",
	"!memcached_pass",
};
#define BUILT_IN (sizeof(built_in) / sizeof(built_in[0]))

void
mb_mask_init(struct mb_mask *mask)
{
	size_t i;

	memset(mask, 0, sizeof(*mask));
	for (i = 0; i < BUILT_IN; i++)
		mask->rules[mask->count++] = mb_strdup(built_in[i]);
}

enum mb_code
mb_mask_add(struct mb_mask *mask, const char *rule, struct mb_error *err)
{
	const char *glob = rule + (rule[0] == '!');

	if (!glob[0] || strpbrk(glob, " \t/"))
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is no pattern for the name of a key", rule);
		return mb_error_hint(err,
							 "Write mask = *_dsn, or mask = !keyboard* for what is no secret.");
	}
	if (mask->count == MB_MASK_MAX_RULES)
		return mb_fail(err, MB_CONFIG, "there are more than %zu rules for secrets",
					   MB_MASK_MAX_RULES - BUILT_IN);
	mask->rules[mask->count++] = mb_strdup(rule);
	return MB_OK;
}

void
mb_mask_release(struct mb_mask *mask)
{
	while (mask->count > 0)
		free(mask->rules[--mask->count]);
}

size_t
mb_mask_rule_of(const struct mb_mask *mask, const char *key, size_t len)
{
	char name[KEY_MAX];
	size_t i;

	if (len == 0)
		return MB_NO_RULE;
	/* Of a very long one the end counts. */
	if (len >= sizeof(name))
	{
		key += len - (sizeof(name) - 1);
		len = sizeof(name) - 1;
	}
	memcpy(name, key, len);
	name[len] = '\0';
	for (i = mask->count; i > MB_RULE_SPECIALS; i--)
	{
		const char *rule = mask->rules[i - 1];
		bool is_exception = rule[0] == '!';

		if (fnmatch(rule + is_exception, name, FNM_CASEFOLD) == 0)
			return is_exception ? MB_NO_RULE : i - 1;
	}
	return MB_NO_RULE;
}

bool
mb_mask_is_plain(const char *key, size_t len)
{
	static const char *const plain[] = {"*password*", "*passwd*", "*passphrase*", "*pass",
										"*secret*",   "*token*",  "masterauth"};
	char *name = mb_strndup(key, len);
	bool found = false;
	size_t i;

	for (i = 0; !found && i < sizeof(plain) / sizeof(plain[0]); i++)
		found = fnmatch(plain[i], name, FNM_CASEFOLD) == 0;
	free(name);
	return found;
}

enum mb_mask_format
mb_mask_format_of(const char *path)
{
	static const struct
	{
		const char *glob; /* of the name */
		enum mb_mask_format format;
	} known[] = {
		{".pgpass", MB_MASK_PGPASS},
		{"pgpass.conf", MB_MASK_PGPASS},
		{".netrc", MB_MASK_NETRC},
		{"_netrc", MB_MASK_NETRC},
		{"*.yml", MB_MASK_YAML},
		{"*.yaml", MB_MASK_YAML},
		{"*.toml", MB_MASK_TOML},
		{"*.tfvars", MB_MASK_TOML},
		{"*.json", MB_MASK_JSON},
		{"*.conf", MB_MASK_CONF},
		{"*.acl", MB_MASK_CONF},
		{"*.env", MB_MASK_TEXT},
		{".env.*", MB_MASK_TEXT},
		{"*.env.*", MB_MASK_TEXT},
		{"env", MB_MASK_TEXT},
		{"*.ini", MB_MASK_TEXT},
		{"*.cnf", MB_MASK_TEXT},
		{"*.cfg", MB_MASK_TEXT},
		{"*.config", MB_MASK_TEXT},
		{"*.properties", MB_MASK_TEXT},
		{"*.service", MB_MASK_TEXT},
		{"credentials", MB_MASK_TEXT},
		{".git-credentials", MB_MASK_TEXT},
		{".npmrc", MB_MASK_TEXT},
		{".pypirc", MB_MASK_TEXT},
		{".s3cfg", MB_MASK_TEXT},
	};
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (fnmatch(known[i].glob, name, FNM_CASEFOLD) == 0)
			return known[i].format;
	return MB_MASK_NONE;
}
