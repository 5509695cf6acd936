#!/bin/bash
# The ten stories of docs/mistakes.md: each mistake is made on a real stack, and what is printed is what the page says.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
doc_page docs/mistakes.md
done_testing
