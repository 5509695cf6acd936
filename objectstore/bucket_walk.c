/* bucket_walk.c - see bucket_walk.h. */
#include "objectstore/bucket_walk.h"

#include <string.h>

struct walking
{
	const struct mb_walk *walk;
	struct mb_state *state;
	struct mb_bucket_listing *listing;
	const struct mb_state_key *wanted;
	const struct mb_listed_key *there;
	struct mb_buf target;
};

static enum mb_code
next_wanted(struct walking *walking, struct mb_error *err)
{
	const struct mb_walk *walk = walking->walk;
	enum mb_code code;

	do
		code = mb_state_next(walking->state, &walking->wanted, err);
	while (!code && walking->wanted &&
		   !mb_state_wanted(walk->only, walk->only_count, walking->wanted->key));
	return code;
}

static enum mb_code
next_there(struct walking *walking, struct mb_error *err)
{
	walking->there = NULL;
	return walking->listing ? mb_bucket_listing_next(walking->listing, &walking->there, err)
							: MB_OK;
}

/* Is what the bucket has before (-1), at (0) or behind (1) what is wanted? */
static int
compare(const struct walking *walking)
{
	if (!walking->there)
		return 1;
	if (!walking->wanted)
		return -1;
	return strcmp(walking->there->key + strlen(walking->walk->prefix), walking->wanted->key);
}

static enum mb_code
step(struct walking *walking, struct mb_error *err)
{
	const struct mb_walk *walk = walking->walk;
	int order = compare(walking);
	bool has_wanted = order >= 0, has_there = order <= 0;
	enum mb_code code = mb_cancel_check(walk->cancel, err);

	mb_buf_reset(&walking->target);
	mb_buf_put_str(&walking->target, walk->prefix);
	mb_buf_put_str(&walking->target,
				   has_wanted ? walking->wanted->key : walking->there->key + strlen(walk->prefix));
	if (!code)
		code =
			walk->each(walk->ctx, mb_buf_cstr(&walking->target),
					   has_wanted ? walking->wanted : NULL, has_there ? walking->there : NULL, err);
	if (!code && has_wanted)
		code = next_wanted(walking, err);
	if (!code && has_there)
		code = next_there(walking, err);
	return code;
}

enum mb_code
mb_walk_run(const struct mb_walk *walk, struct mb_error *err)
{
	struct walking walking = {.walk = walk};
	enum mb_code code;

	walking.state = mb_state_new(walk->repo, walk->commit, walk->time);
	if (walk->s3)
		walking.listing = mb_bucket_listing_new(walk->s3, walk->bucket, walk->within, walk->listing,
												walk->cancel);
	code = next_wanted(&walking, err);
	if (!code)
		code = next_there(&walking, err);
	while (!code && (walking.wanted || walking.there))
		code = step(&walking, err);
	mb_bucket_listing_free(walking.listing);
	mb_state_free(walking.state);
	mb_buf_release(&walking.target);
	return code;
}
