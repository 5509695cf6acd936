CLI_SRC += $(filter-out cli/wal_get_main.c,$(wildcard cli/*.c))

# What restore_command starts for each segment: with as little behind it as can be.
WAL_GET_SRC = cli/wal_get_main.c $(addprefix walstreamer/,wal_get_quick.c wal_helper_ask.c restore_plan.c wal_name.c)

# What unit tests and fuzz targets need of this folder.
ARCHIVE_SRC = $(addprefix cli/,archive_name.c archive_output.c archive_write.c archive_read.c archive_check.c archive_items.c)
BACKUP_CONF_SRC = $(addprefix cli/,backup_conf.c backup_conf_write.c)
CRON_SRC = $(addprefix cli/,cron.c cron_next.c schedule.c)
CONFIG_SRC = $(addprefix cli/,config.c config_file.c config_secret.c options.c options_parse.c options_value.c)
UNIT_CLI_SRC += $(addprefix cli/,notify_state.c notify_mail.c progress_line.c) $(CRON_SRC) $(ARCHIVE_SRC) $(BACKUP_CONF_SRC)
