#!/bin/bash
# The reference pages of the components and commands: every command runs on real servers, and every configuration is one
# that mbackup understands.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
doc_page docs/postgres.md
doc_page docs/redis.md
doc_page docs/files.md
doc_page docs/configuration.md
doc_page docs/check.md
doc_page docs/retention.md
doc_page docs/schedule.md
doc_page docs/migration.md
done_testing
