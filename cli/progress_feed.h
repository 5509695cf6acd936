/*
 * progress_feed.h - the progress of a command for the program that started it.
 *
 * When the environment names a file descriptor (MBACKUP_PROGRESS_FD), a thread writes one
 * line of JSON to it each half second, until that pipe is closed:
 *
 *     {"components": [{"name", "phase", "done_bytes", "total_bytes", "done_entries"}]}
 *
 * The same counters as progress.c shows to people, at the same price.
 */
#ifndef MB_CLI_PROGRESS_FEED_H
#define MB_CLI_PROGRESS_FEED_H

#define PROGRESS_FEED_VARIABLE "MBACKUP_PROGRESS_FD"
#define PROGRESS_FEED_FD 3

struct mb_cli;
struct progress_feed;

/* NULL when nobody asked for it. */
struct progress_feed *progress_feed_start(struct mb_cli *cli);
void progress_feed_stop(struct progress_feed *feed); /* NULL does nothing */

#endif
