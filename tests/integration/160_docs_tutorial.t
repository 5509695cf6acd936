#!/bin/bash
# The tutorial, as a reader would type it: every command runs on real servers, from nothing to the second before
# the accident, and prints what the page shows.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
DOC_CWD=$here doc_page docs/tutorial.md
done_testing
