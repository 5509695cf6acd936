/* drill_private.h - what drill.c (the steps) and drill_place.c (scratch directory, history) share. */
#ifndef MB_ENGINE_DRILL_PRIVATE_H
#define MB_ENGINE_DRILL_PRIVATE_H

#include "core/engine/drill.h"

struct mb_drill
{
	const struct mb_stack *stack;
	const struct mb_drill_options *options;
	char id[MB_ID_TEXT];
	int64_t started_us;
	/* the scratch directory, NULL: none yet */
	char *root;
	int lock_fd;
	char *tablespaces;
	/* parallel to stack->components */
	struct mb_restore_destination *destinations;
	char **sockets;
	struct mb_commit *commits;
	struct mb_trial *trials;
	json_t *restored; /* answer of the restore */
	char **variables; /* of the health hook; NULL-terminated */
	size_t variable_count;
	size_t variable_cap;
	bool is_under_way; /* planned: whatever happens now is about what is stored */
	bool was_ready;    /* everything was up, and good */
	int64_t restore_ms;
	int64_t ready_ms;
	json_t *report; /* the "drill" object */
	json_t *phases; /* seconds */
};

/* Remove what dead drills have left, then make ours; fills everything up to `trials`. */
enum mb_code mb_drill_place_make(struct mb_drill *drill, struct mb_error *err) MB_MUST_CHECK;
/* Is there room for so many bytes?  MB_NO_SPACE. */
enum mb_code mb_drill_room(struct mb_drill *drill, uint64_t bytes,
						   struct mb_error *err) MB_MUST_CHECK;
void mb_drill_place_remove(struct mb_drill *drill);
/* Put the report into the repository, and away with the oldest ones. */
enum mb_code mb_drill_keep(struct mb_drill *drill, struct mb_error *err) MB_MUST_CHECK;
void mb_drill_release(struct mb_drill *drill);

#endif
