/*
 * service.h - what must stand still while a restore replaces its data: how it is stopped, started
 * and asked whether it runs.  Written in mbackup.conf as one word:
 *
 *     systemd:NAME             systemctl stop|start|is-active NAME
 *     compose:FILE#SERVICE     docker compose -f FILE stop|start|ps SERVICE
 *     pg_ctlcluster:15/main    pg_ctlcluster 15 main stop|start|status
 *     pg_ctl                   pg_ctl -D <the data directory> ...
 *     command                  service-stop, service-start, service-status of the section
 *
 * Stopping what is stopped and starting what runs is fine.
 */
#ifndef MB_ENGINE_SERVICE_H
#define MB_ENGINE_SERVICE_H

#include "core/base/process.h"
#include "core/engine/env.h"

enum mb_service_kind
{
	MB_SERVICE_SYSTEMD,
	MB_SERVICE_COMPOSE,
	MB_SERVICE_PG_CTLCLUSTER,
	MB_SERVICE_PG_CTL,
	MB_SERVICE_COMMAND
};

struct mb_service
{
	enum mb_service_kind kind;
	char *text;      /* as it was written, with its component for those that have no name */
	char *component; /* NULL: of the application */
	char *name;      /* unit, compose service, "15 main" as version ... */
	char *file;      /* ... and cluster, compose file */
	char *stop;      /* commands of "command"; status may be NULL */
	char *start;
	char *status;
	/* pg_ctl only */
	char *bindir;
	char *directory;
};

/* What it is done with.  Everything is borrowed. */
struct mb_service_env
{
	const struct mb_log *log;
	const struct mb_cancel *cancel;
	const char *output_path;
	int64_t timeout_ms;
};

/* MB_CONFIG for a word that is none of the above; settings (may be NULL) has the commands. */
enum mb_code mb_service_parse(struct mb_service *service, const char *text,
							  const struct mb_settings *settings,
							  struct mb_error *err) MB_MUST_CHECK;
void mb_service_release(struct mb_service *service); /* all zero is fine */

/* Are the programs there, and does the service exist?  *running: MB_OK only. */
enum mb_code mb_service_state(const struct mb_service *service, const struct mb_service_env *env,
							  bool *running, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_service_stop(const struct mb_service *service, const struct mb_service_env *env,
							 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_service_start(const struct mb_service *service, const struct mb_service_env *env,
							  struct mb_error *err) MB_MUST_CHECK;

#endif
