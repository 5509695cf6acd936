/* wire_manifest_fuzz.c - any bytes as a server's backup_manifest, in any pieces, and as a label. */
#include <stdint.h>
#include <stdlib.h>

#include "core/base/mem.h"
#include "postgres/backup_label.h"
#include "postgres/wire_manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes
{
	const uint8_t *data;
	size_t len;
	size_t at;
};

static enum mb_code
give(void *ctx, const void **data, size_t *len, struct mb_error *err)
{
	struct bytes *bytes = ctx;
	size_t left = bytes->len - bytes->at;

	(void) err;
	*data = bytes->data + bytes->at;
	*len = left < 61 ? left : 61;
	bytes->at += *len;
	return MB_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_wire_manifest *manifest = mb_wire_manifest_new();
	struct bytes bytes = {.data = data, .len = size};
	char *text = mb_strndup((const char *) data, size);
	struct mb_backup_label label;
	struct mb_error err;

	mb_wire_manifest_note(manifest, "PG_VERSION", 3, 0x12345678);
	mb_wire_manifest_note_changed(manifest, "base/5/1259");
	if (mb_wire_manifest_compare(manifest, give, &bytes, &err))
		MB_ASSERT(err.message[0]);
	if (mb_backup_label_parse(&label, text))
		MB_ASSERT(label.timeline != 0);
	mb_wire_manifest_free(manifest);
	free(text);
	return 0;
}
