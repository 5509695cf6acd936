#!/bin/bash
# The how-to pages about buckets: every command runs against a real S3 server, and prints what the page shows.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
doc_page docs/howto/move-to-s3.md
doc_page docs/howto/ransomware-proof-repository.md
doc_page docs/howto/a-few-objects-back.md
doc_page docs/howto/kubernetes-and-compose.md
doc_page docs/howto/migrate-from-wal-g.md
done_testing
