#!/bin/bash
# The how-to pages about other tools: every command runs beside the real pgBackRest, Barman and scripts where they are
# installed, and prints what the page shows.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
doc_page docs/howto/migrate-from-shell-scripts.md
doc_page docs/howto/migrate-from-pgbackrest.md
doc_page docs/howto/migrate-from-barman.md
done_testing
