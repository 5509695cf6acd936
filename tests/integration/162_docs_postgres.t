#!/bin/bash
# The how-to pages about PostgreSQL: every command runs on a real cluster, and prints what the page shows.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
doc_page docs/howto/pitr-after-drop-table.md
doc_page docs/howto/one-table-back.md
doc_page docs/howto/standby-from-backup.md
doc_page docs/howto/upgrade-of-postgres.md
done_testing
