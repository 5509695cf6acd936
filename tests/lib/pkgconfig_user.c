/*
 * pkgconfig_user.c - somebody else's program: built by what "make install" left, with the flags of mbackup.pc.
 *
 *     pkgconfig_user DIRECTORY     makes a repository there, without encryption, and prints its id
 */
#include <stdio.h>

#include "core/repo/repo.h"

int
main(int argc, char **argv)
{
	const struct mb_unlock unlock = {0};
	struct mb_error err = {0};
	struct mb_store *store;
	struct mb_repo *repo;

	if (argc != 2 || mb_store_posix_open(&store, argv[1], MB_STORE_CREATE, &err) ||
		mb_repo_create(&repo, store, MB_SUITE_NONE, &unlock, &err))
	{
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	printf("%s\n", repo->id_text);
	mb_repo_free(repo);
	return 0;
}
