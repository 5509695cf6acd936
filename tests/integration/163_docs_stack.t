#!/bin/bash
# The how-to pages about a whole stack and its keys: every command runs on real servers, and prints what the page
# shows.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
doc_page docs/howto/first-backup.md
doc_page docs/howto/disaster-on-a-new-host.md
doc_page docs/howto/rotate-keys.md
doc_page docs/howto/monitoring.md
done_testing
