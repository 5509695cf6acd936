/*
 * docs.h - sets, marks and probes as documents: sets/<id>, marks/<id>, probes/<id>.
 *
 * A set is the backup object of docs/configuration.md plus, in each component, "backup": the id of its commit.  A mark
 * is the mark object of that page plus "bases": {component: commit id} (where a restore starts) and
 * "uncovered": {component: why} for what no stream held.  A probe is what the server of a place
 * was found to do (docs/format.md, section 10).
 */
#ifndef MB_ENGINE_DOCS_H
#define MB_ENGINE_DOCS_H

#include "core/engine/stack.h"

/*
 * Arrays of all documents, oldest first; owned by the caller.  One that cannot
 * be read hides no other: it stands in them as {id, name, status: "damaged" or "unreadable", message},
 * the latter when somebody lets nobody look.
 */
enum mb_code mb_sets_list(const struct mb_repo *repo, json_t **sets,
						  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_marks_list(const struct mb_repo *repo, json_t **marks,
						   struct mb_error *err) MB_MUST_CHECK;
/* Is it one that could not be read?  Why: MB_DENIED or MB_CORRUPT. */
bool mb_doc_is_unread(const json_t *doc);
enum mb_code mb_doc_unread_code(const json_t *doc);
enum mb_code mb_set_put(const struct mb_repo *repo, const json_t *set,
						struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_mark_put(const struct mb_repo *repo, const json_t *mark,
						 struct mb_error *err) MB_MUST_CHECK;

enum mb_code mb_probes_list(const struct mb_repo *repo, json_t **probes,
							struct mb_error *err) MB_MUST_CHECK;
/* Sets the probe's "id". */
enum mb_code mb_probe_put(const struct mb_repo *repo, json_t *probe,
						  struct mb_error *err) MB_MUST_CHECK;

/* The commit of a component in a set, borrowed; NULL when it holds none. */
const char *mb_set_commit_id(const json_t *set, const char *component);

#endif
