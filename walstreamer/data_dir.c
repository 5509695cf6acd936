/* data_dir.c - see data_dir.h. */
#include "walstreamer/data_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/fs.h"
#include "core/base/hash.h"

#define CONTROL_FILE "global/pg_control"
#define LABEL_FILE "backup_label"
#define CONTROL_MAX_BYTES 16384
#define LABEL_MAX_BYTES (1u << 20)
/* struct ControlFileData of 13 to 18 (catalog/pg_control.h): the same in all of them. */
#define CONTROL_SYSTEM_ID 0
#define CONTROL_REDO 40
#define CONTROL_TIMELINE 48
#define CONTROL_END 52

/* The value of a line "<key>: <value>" of backup_label, or NULL. */
static const char *
label_value(const char *text, const char *key)
{
	const char *found = strstr(text, key);

	return found ? found + strlen(key) : NULL;
}

/* An online backup that has not been recovered yet begins where its label says. */
static enum mb_code
read_label(struct mb_data_dir *dir, struct mb_error *err)
{
	struct mb_buf text = {0};
	char lsn_text[32] = "";
	const char *value;
	enum mb_code code = mb_file_read(&text, LABEL_FILE, LABEL_MAX_BYTES, err);

	if (code == MB_NOT_FOUND)
		code = MB_OK;
	else if (!code)
	{
		value = label_value(mb_buf_cstr(&text), "START WAL LOCATION: ");
		if (!value || sscanf(value, "%31s", lsn_text) != 1 ||
			!mb_lsn_parse(&dir->redo_lsn, lsn_text))
			code = mb_fail(err, MB_CORRUPT, "\"%s\" does not say where it begins", LABEL_FILE);
		value = label_value(mb_buf_cstr(&text), "START TIMELINE: ");
		if (value)
			dir->timeline = (uint32_t) strtoul(value, NULL, 10);
	}
	mb_buf_release(&text);
	return code;
}

enum mb_code
mb_data_dir_read(struct mb_data_dir *dir, struct mb_error *err)
{
	struct mb_buf control = {0};
	enum mb_code code = mb_file_read(&control, CONTROL_FILE, CONTROL_MAX_BYTES, err);

	memset(dir, 0, sizeof(*dir));
	if (code == MB_NOT_FOUND || (!code && control.len < CONTROL_END))
	{
		code = mb_fail(err, MB_CONFIG, "the current directory is not a data directory: \"%s\" %s",
					   CONTROL_FILE, code ? "is missing" : "is too short");
		mb_error_hint(err, "PostgreSQL calls this command in its data directory; by hand, go there "
						   "first.");
	}
	if (!code)
	{
		snprintf(dir->system_id, sizeof(dir->system_id), "%" PRIu64,
				 mb_get_u64(control.data + CONTROL_SYSTEM_ID));
		dir->redo_lsn = mb_get_u64(control.data + CONTROL_REDO);
		dir->timeline = mb_get_u32(control.data + CONTROL_TIMELINE);
		code = read_label(dir, err);
	}
	mb_buf_release(&control);
	return code;
}

void
mb_data_dir_marker(char out[MB_DATA_DIR_MARKER])
{
	struct stat dir, version;
	uint64_t facts[5];

	out[0] = '\0';
	if (stat(".", &dir) != 0 || stat("PG_VERSION", &version) != 0)
		return;
	facts[0] = (uint64_t) dir.st_dev;
	facts[1] = (uint64_t) dir.st_ino;
	facts[2] = (uint64_t) version.st_ino;
	facts[3] = (uint64_t) version.st_ctim.tv_sec;
	facts[4] = (uint64_t) version.st_ctim.tv_nsec;
	snprintf(out, MB_DATA_DIR_MARKER, "%016" PRIx64, mb_xxh64_seed(facts, sizeof(facts), 0));
}
