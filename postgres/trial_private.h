/* trial_private.h - what trial.c (the server) and trial_relations.c (what is in it) share. */
#ifndef MB_POSTGRES_TRIAL_PRIVATE_H
#define MB_POSTGRES_TRIAL_PRIVATE_H

#include "postgres/restore_private.h"

#define MB_PG_TRIAL_WORDS 600

struct mb_pg_trial
{
	struct mb_component *component;
	struct mb_trial *base;
	struct mb_pg_place place;
	struct mb_restore restore; /* env and progress only */
	struct mb_pg_scratch scratch;
	char *bindir;
	char *directory;
};

/* A program of the server's version, free() it; NULL: there is none. */
char *mb_pg_trial_program(const struct mb_pg_trial *trial, const char *name);
/*
 * Run one as the server's user; `words` gets the beginning of what it prints.  MB_IO for any exit
 * status but 0 and fine_status.
 */
enum mb_code mb_pg_trial_run(const struct mb_pg_trial *trial, const char *const *argv,
							 int fine_status, char words[MB_PG_TRIAL_WORDS],
							 struct mb_error *err) MB_MUST_CHECK;
/* Are all tables and indexes sound, and how many rows are there? */
enum mb_code mb_pg_trial_relations(struct mb_pg_trial *trial, struct mb_error *err) MB_MUST_CHECK;

#endif
