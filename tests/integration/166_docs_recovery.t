#!/bin/bash
# The pages that are read when something is lost: every command runs on real servers, and what was lost is back.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
doc_page docs/recovery.md
doc_page docs/restore.md
doc_page docs/archive.md
doc_page docs/objects.md
done_testing
