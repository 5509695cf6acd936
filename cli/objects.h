/*
 * objects.h - what the verbs of `mbackup objects` share: one component of kind objects and its
 * state at a moment.
 */
#ifndef MB_CLI_OBJECTS_H
#define MB_CLI_OBJECTS_H

#include "cli/cli.h"
#include "core/engine/look.h"
#include "objectstore/state.h"

struct objects_view
{
	struct mb_component *component;
	struct mb_look look;
	struct mb_state_time time;
};

/* The component that the second word names, and its backup as of --at. */
enum mb_code objects_open(struct mb_cli *cli, struct objects_view *view,
						  struct mb_error *err) MB_MUST_CHECK;
void objects_close(struct objects_view *view);
/* MB_NOT_FOUND names what there is; MB_CONFIG when it is of another kind. */
enum mb_code objects_component(struct mb_cli *cli, struct mb_component **component,
							   struct mb_error *err) MB_MUST_CHECK;

/* Names are anything: what could write to the terminal beyond its line is shown as \xNN. */
void objects_print_name(const char *name, FILE *out);

/* Takes the contents of an object in order, at most a frame at a time. */
typedef enum mb_code (*objects_contents_fn)(void *ctx, const void *data, size_t len,
											struct mb_error *err);
enum mb_code objects_contents(struct mb_pack_reader *reader, const struct mb_entry *entry,
							  objects_contents_fn fn, void *ctx,
							  struct mb_error *err) MB_MUST_CHECK;

/* cmd_objects_read.c */
enum mb_code objects_ls(struct mb_cli *cli, struct mb_error *err);
enum mb_code objects_diff(struct mb_cli *cli, struct mb_error *err);
enum mb_code objects_cat(struct mb_cli *cli, struct mb_error *err);
/* cmd_objects_iam.c */
enum mb_code objects_iam(struct mb_cli *cli, struct mb_error *err);
void render_iam(const json_t *iam, FILE *out);
/* cmd_objects_verify.c */
enum mb_code objects_verify(struct mb_cli *cli, struct mb_error *err);
void render_objects_answer(const json_t *answer, FILE *out);

#endif
