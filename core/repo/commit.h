/*
 * commit.h - the one object that makes a backup of a component exist, and the
 * sets and marks above it.
 *
 * Name: backups/<component>/<backup id>/commit.  Its frames: number 0 is a JSON
 * object (the fields below and `meta`), then the block list and the reference table
 * in binary, as docs/format.md says.  A commit carries the sequence number of its
 * component and the SHA-256 of the whole previous commit blob: with the catalog
 * and the local state as witnesses a rolled back repository is noticed.
 *
 * Sets are documents under sets/<id>, marks under marks/<id>; core/engine/docs.h gives
 * them their shape.
 */
#ifndef MB_REPO_COMMIT_H
#define MB_REPO_COMMIT_H

#include "core/repo/manifest.h"

#define MB_COMPONENT_MAX 64 /* name: [a-z0-9_-], starts with a letter */

struct mb_commit
{
	char id[MB_ID_TEXT];
	char component[MB_COMPONENT_MAX];
	char kind[16];           /* "postgres", "objects", "redis", "files" */
	char type[16];           /* "full", "incremental", "scan" (taken by a mark or a stream) */
	char parent[MB_ID_TEXT]; /* "" for a full one */
	uint64_t sequence;       /* from 1 */
	char previous[MB_ID_TEXT];
	unsigned char previous_hash[MB_SHA256_BYTES]; /* zero for the first, and when that is damaged */
	int64_t started_us;
	int64_t finished_us;
	uint64_t entries;
	uint64_t bytes;         /* sum of entry sizes */
	uint64_t changed_bytes; /* read and packed by this backup */
	uint64_t stored_bytes;  /* of the packs that this backup wrote */
	json_t *meta;           /* the component's own object, owned */
	struct mb_blocks blocks;
	struct mb_pack_refs refs;
};

bool mb_component_name_is_valid(const char *name);

/*
 * Write the commit.  Fills in sequence, previous and previous_hash from the newest
 * commit of the component (by sequence, then id).  The caller has drained the
 * uploader before: a commit may only refer to durable packs.
 */
enum mb_code mb_commit_put(const struct mb_repo *repo, struct mb_commit *commit,
						   struct mb_error *err) MB_MUST_CHECK;
/* The newest readable commit of a component; id "" and sequence 0 when there is none. */
enum mb_code mb_commit_newest(const struct mb_repo *repo, const char *component,
							  char id[MB_ID_TEXT], uint64_t *sequence,
							  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_commit_get(const struct mb_repo *repo, const char *component, const char *id,
						   struct mb_commit *commit, struct mb_error *err) MB_MUST_CHECK;
/* Only frame 0: everything but blocks and refs, for listings. */
enum mb_code mb_commit_head(const struct mb_repo *repo, const char *component, const char *id,
							struct mb_commit *commit, struct mb_error *err) MB_MUST_CHECK;
void mb_commit_release(struct mb_commit *commit);
/* "backups/<component>/<id>/commit" */
void mb_commit_blob_name(char out[MB_NAME_MAX], const char *component, const char *id);

/* Names (component, id) of all commits, sorted; component NULL: of all components. */
struct mb_commit_name
{
	char component[MB_COMPONENT_MAX];
	char id[MB_ID_TEXT];
	int64_t put_us; /* when it was put, by the store */
};
struct mb_commit_names
{
	struct mb_commit_name *items;
	size_t count;
	size_t cap;
};
enum mb_code mb_commit_list(const struct mb_repo *repo, const char *component,
							struct mb_commit_names *names, struct mb_error *err) MB_MUST_CHECK;
void mb_commit_names_release(struct mb_commit_names *names);

#endif
