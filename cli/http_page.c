/*
 * http_page.c - cli/status.html, which is part of the program.
 *
 * The assembler takes it in as it is: that needs no generator, and no tool beside the compiler.
 */
#include <string.h>

#include "cli/http.h"
#include "core/repo/crypto.h"

__asm__(".section .rodata\n"
		".global mb_status_page\n"
		".global mb_status_page_end\n"
		"mb_status_page:\n"
		".incbin \"cli/status.html\"\n"
		"mb_status_page_end:\n"
		".byte 0\n"
		".text\n");

extern const char mb_status_page[], mb_status_page_end[];

const char *
http_page(size_t *len)
{
	*len = (size_t) (mb_status_page_end - mb_status_page);
	return mb_status_page;
}

/* The hash of what stands between two tags, as a policy names it. */
static void
put_hash(struct mb_buf *out, const char *open, const char *close)
{
	const char *from = strstr(mb_status_page, open), *to;
	unsigned char hash[MB_SHA256_BYTES];

	MB_ASSERT(from);
	from += strlen(open);
	to = strstr(from, close);
	MB_ASSERT(to);
	mb_sha256(hash, from, (size_t) (to - from));
	mb_buf_put_str(out, "'sha256-");
	mb_base64(out, hash, sizeof(hash));
	mb_buf_put_str(out, "'");
}

char *
http_page_policy(void)
{
	struct mb_buf out = {0};
	char *text;

	mb_buf_put_str(&out, "default-src 'none'; script-src ");
	put_hash(&out, "<script>", "</script>");
	mb_buf_put_str(&out, "; style-src ");
	put_hash(&out, "<style>", "</style>");
	mb_buf_put_str(&out, "; connect-src 'self'; img-src data:; base-uri 'none'; "
						 "form-action 'none'; frame-ancestors 'none'");
	text = mb_strdup(mb_buf_cstr(&out));
	mb_buf_release(&out);
	return text;
}
