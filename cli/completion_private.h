/* completion_private.h - what completion.c, completion_offer.c and completion_names.c share. */
#ifndef MB_CLI_COMPLETION_PRIVATE_H
#define MB_CLI_COMPLETION_PRIVATE_H

#include "cli/cli.h"

/* The line, understood as far as it goes. */
struct completion_line
{
	const struct mb_command *command; /* NULL: not yet */
	const char *words[3];             /* behind it, the first of them */
	size_t word_count;
	const struct mb_option *pending; /* the last word is its value */
	const char *pending_suffix;
	bool only_words;         /* behind "--" */
	const char *current;     /* the last word, or its part behind "--name=" */
	size_t lead;             /* how many bytes stand before that part */
	const char *whole;       /* the last word */
	const char *config;      /* --config, or NULL */
	unsigned char used[256]; /* rows that are there */
	struct mb_buf candidates;
	bool files;
	size_t file_lead;
	json_t *list; /* of the repository; NULL: not asked */
	bool asked;
};

/* The commands that options must be of: that of the line, or all. */
unsigned completion_command(const struct completion_line *line);

/*
 * completion_offer.c.  One candidate, when it goes on from what is typed and no shell sees anything in
 * it.
 */
void completion_offer(struct completion_line *line, const char *text, const char *meaning);
/* All that could stand there. */
void completion_offer_commands(struct completion_line *line);
void completion_offer_options(struct completion_line *line);
void completion_offer_value(struct completion_line *line); /* of line->pending */
void completion_offer_words(struct completion_line *line); /* behind line->command */

/*
 * completion_names.c.  The repository is asked once a line, and for 3 seconds at most; what cannot be
 * read is not offered.
 */
void completion_offer_components(struct completion_line *line, const char *kind); /* NULL: any */
void completion_offer_copies(struct completion_line *line);
void completion_offer_backups(struct completion_line *line);
void completion_offer_marks(struct completion_line *line);

#endif
