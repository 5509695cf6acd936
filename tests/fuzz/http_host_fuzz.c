/* http_host_fuzz.c - a Host header from anywhere: only our names get through, and an address to listen on. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Judged in another way: the text begins with a name of ours, and after it comes a port or nothing. */
static int
may_pass(const char *host)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[127.0.0.1]", "[localhost]",
										"::1",       "[::1]",     "db1",         "[db1]"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncasecmp(host, names[i], strlen(names[i])) == 0)
		{
			const char *rest = host + strlen(names[i]);

			if (!*rest || (*rest == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1)))
				return 1;
		}
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_listen listen = {.host = "db1", .port = "8432"}, made;
	char *host = mb_strndup((const char *) data, size);
	struct mb_error err;

	mb_error_clear(&err);
	if (http_host_is_ours(&listen, host) && !may_pass(host))
		abort();
	if (http_listen_parse(&made, host, &err) == MB_OK &&
		(strlen(made.host) >= sizeof(made.host) || atoi(made.port) < 1 || atoi(made.port) > 65535))
		abort();
	free(host);
	return 0;
}
