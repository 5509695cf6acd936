#!/bin/bash
# The pages that need the extension and the daemon: every command and every statement runs on real servers.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
. "$(dirname "$0")/../lib/extension.sh"
stack_begin
extension_server || exit 1
doc_page docs/sql.md
doc_page docs/deploy.md
doc_page docs/verify.md
doc_page docs/install.md
done_testing
