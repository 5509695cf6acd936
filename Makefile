# mbackup - one recovery point for Postgres, buckets, Redis and configuration files.
#
#   make demo        install what is needed, build, run the main job on a throw-away stack
#   make check       install what is needed, build, run every test
#   make             build only          make check-long   the long kill and flip sweeps
#   make check-fault PART=1/5: every command, while each of its system calls fails in turn
#   make format      clang-format        make bench        against the peers
#   make fuzz        TARGET=rdb SECONDS=3600: libFuzzer          make fuzz-all    SECONDS=60 for each target
#   make install     PREFIX=/usr/local   make extension     CREATE EXTENSION mbackup, for the server of PG_CONFIG
#
# Non-recursive: every folder has a module.mk that adds to the lists below.

BUILD ?= build
JOBS := $(shell nproc 2>/dev/null || echo 2)
CC ?= cc
PG_CONFIG ?= pg_config
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
UNIT_DIR ?= $(PREFIX)/lib/systemd/system
WARNINGS = -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wvla
CPPFLAGS += -D_GNU_SOURCE -I. -I$(BUILD) -MMD -MP
ALL_CFLAGS = -std=c11 $(WARNINGS) -fPIC -pthread -fstack-protector-strong $(CFLAGS)
LDLIBS_CORE = -lzstd -lcrypto -larchive -lxxhash -ljansson -lpthread
LDLIBS_MBACKUP = $(LDLIBS_CORE) -lpq -lhiredis -lssl -linih -lcurl -lexpat -lmicrohttpd
LDLIBS_WAL_GET = -lxxhash -ljansson

CORE_SRC :=
DRIVER_SRC :=
CLI_SRC :=
UNIT_CLI_SRC :=
UNIT_TESTS :=
FUZZ_TARGETS :=
MODULES = core postgres walstreamer objectstore redis files cli tests

all: $(BUILD)/mbackup $(BUILD)/mbackup-wal-get

include $(wildcard $(addsuffix /module.mk,$(MODULES)))

PQ_CFLAGS := $(shell $(PG_CONFIG) --includedir 2>/dev/null | sed 's/^/-I/')
CPPFLAGS += $(PQ_CFLAGS)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
CORE_OBJ = $(call obj,$(CORE_SRC))
DRIVER_OBJ = $(call obj,$(DRIVER_SRC))
CLI_OBJ = $(call obj,$(CLI_SRC))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c $< -o $@

# Taken in by the assembler: -MMD does not see it.
$(BUILD)/cli/http_page.o: cli/status.html
$(BUILD)/cli/manual.o: cli/manual.txt
$(BUILD)/cli/completion.o: $(wildcard cli/completion/*)
$(BUILD)/cli/schedule_units.o: deploy/systemd/common.conf

$(BUILD)/libmbackup.a: $(CORE_OBJ)
	@rm -f $@ && ar rcs $@ $^

$(BUILD)/mbackup: $(CLI_OBJ) $(DRIVER_OBJ) $(BUILD)/libmbackup.a
	@echo "  LINK  $@"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_MBACKUP)

$(BUILD)/mbackup-wal-get: $(call obj,$(WAL_GET_SRC)) $(BUILD)/libmbackup.a
	@echo "  LINK  $@"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_WAL_GET)

# Unit tests: tests/unit/<module>_test.c, one program each, cmocka, TAP.
UNIT_BIN = $(patsubst %.c,$(BUILD)/tests/unit/%,$(UNIT_TESTS))
$(UNIT_BIN): $(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(call obj,$(UNIT_CLI_SRC)) $(DRIVER_OBJ) $(BUILD)/libmbackup.a
	@echo "  LINK  $@"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_MBACKUP) -lcmocka

unit-bin: $(UNIT_BIN)

# What becomes of a repository that was changed: tests/mutants/mutants.h.
$(BUILD)/tests/mutants/mutants: $(call obj,$(wildcard tests/mutants/*.c)) $(DRIVER_OBJ) $(BUILD)/libmbackup.a
	@echo "  LINK  $@"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_MBACKUP)

unit-bin: $(BUILD)/tests/mutants/mutants

# Fuzz targets: tests/fuzz/<name>_fuzz.c.  Each is linked with replay.c, which runs a corpus
# and mutants of it under the sanitizers; "make fuzz" builds them with libFuzzer instead.
FUZZ_BIN = $(patsubst %.c,$(BUILD)/tests/fuzz/%,$(FUZZ_TARGETS))
$(FUZZ_BIN): $(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(FUZZ_MAIN) $(DRIVER_OBJ) $(BUILD)/libmbackup.a
	@echo "  LINK  $@"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(FUZZ_LDFLAGS) -o $@ $^ $(LDLIBS_MBACKUP)

fuzz-bin: $(FUZZ_BIN)

# libFuzzer (libclang-rt-dev) from the corpus of one target; what it adds and what crashes is left in FUZZ_DIR.
TARGET ?= rdb
SECONDS ?= 600
FUZZ_DIR ?= build/fuzz/$(TARGET)
FUZZ_CFLAGS = $(subst address,fuzzer-no-link$(comma)address,$(SANITIZE))
# How a build is made that libFuzzer drives: with "all" and "unit-bin" it is an ordinary one, instrumented.
LIBFUZZER = CC=clang CFLAGS="$(FUZZ_CFLAGS)" FUZZ_LDFLAGS=-fsanitize=fuzzer FUZZ_MAIN=
comma := ,
fuzz:
	$(MAKE) -j$(JOBS) BUILD=build/fuzz $(LIBFUZZER) build/fuzz/tests/fuzz/$(TARGET)_fuzz
	@mkdir -p $(FUZZ_DIR)/new $(FUZZ_DIR)/crashes
	build/fuzz/tests/fuzz/$(TARGET)_fuzz -max_total_time=$(SECONDS) -max_len=65536 -timeout=10 -print_final_stats=1 \
		-artifact_prefix=$(FUZZ_DIR)/crashes/ $(FUZZ_DIR)/new tests/fuzz/corpus/$(TARGET)

# Each for so many seconds, with what it did in a line; crashes are left in build/fuzz/found/<target>.
fuzz-all:
	$(MAKE) -j$(JOBS) BUILD=build/fuzz $(LIBFUZZER) fuzz-bin
	FUZZ_BUILD=build/fuzz FUZZ_SECONDS=$(SECONDS) FUZZ_FOUND=build/fuzz/found tests/fuzz/libfuzzer.t

# cmocka prints TAP, for prove, when it is told so.
export CMOCKA_MESSAGE_OUTPUT = TAP

SANITIZE = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

format:
	clang-format -i $$(git ls-files '*.[ch]')

deps:
	tools/install-deps

# $(MAKE) again, because what pg_config and the wildcards say may have changed with deps.
# Tests have ports and directories of their own.  One more runs at once than there are cores, because most
# wait for servers much of their time; the long ones, with high numbers, begin first.
check: deps
	$(MAKE) -j$(JOBS) all unit-bin
	$(MAKE) -j$(JOBS) BUILD=build/asan CFLAGS="$(SANITIZE)" all unit-bin fuzz-bin
	if tests/fuzz/has_libfuzzer; then $(MAKE) -j$(JOBS) BUILD=build/clang $(LIBFUZZER) all unit-bin fuzz-bin; \
		else $(MAKE) -j$(JOBS) BUILD=build/clang CC=clang all unit-bin; fi
	prove -j$$(($(JOBS) + 1)) --timer --exec '' $(shell ls -r tests/integration/*.t) $(wildcard tests/fuzz/*.t) \
		$(wildcard tests/unit/*.t) $(patsubst tests/unit/%.c,build/asan/tests/unit/%,$(wildcard tests/unit/*_test.c)) \
		$(wildcard tests/check_*.sh)

# The long figures: hundreds of rounds of what "make check" samples.
check-long: deps
	$(MAKE) -j$(JOBS) all
	$(MAKE) -j$(JOBS) BUILD=build/asan CFLAGS="$(SANITIZE)" fuzz-bin
	$(MAKE) -j$(JOBS) unit-bin
	MBACKUP_LONG=1 prove --timer --exec '' $$(grep -l MBACKUP_LONG tests/integration/*.t) $(wildcard tests/fuzz/*.t) \
		$$(grep -l MBACKUP_LONG tests/unit/*_test.c | sed 's,\(.*\)\.c,$(BUILD)/\1,')

# The whole fault sweep: hours.  PART=2/5: a fifth of the commands.  FAULT=...: options of tests/fault/sweep.py.
PART ?= 1/1
check-fault: deps
	$(MAKE) -j$(JOBS) all
	tests/fault/run --part $(PART) --table $(FAULT)

demo: deps
	$(MAKE) -j$(JOBS) all
	demo/run

bench: deps
	$(MAKE) -j$(JOBS) all
	tests/bench/run
	tests/bench/incremental
	tests/bench/verify
	tests/bench/expire
	tests/bench/restore
	tests/bench/wal
	tests/bench/objects
	tests/bench/redis

# In a copy, because PGXS builds where its Makefile lies.
extension:
	@mkdir -p $(BUILD)/extension
	@cp -p pg_extension/* $(BUILD)/extension/
	$(MAKE) -C $(BUILD)/extension SQL=$(CURDIR)/sql PG_CONFIG=$(PG_CONFIG)

# The extension too, where there is a PostgreSQL to put it into.
install: all $(if $(wildcard $(shell $(PG_CONFIG) --sharedir 2>/dev/null)/extension),extension)
	install -D -m 755 $(BUILD)/mbackup $(DESTDIR)$(PREFIX)/bin/mbackup
	install -D -m 755 $(BUILD)/mbackup-wal-get $(DESTDIR)$(PREFIX)/bin/mbackup-wal-get
	$(if $(filter extension,$^),$(MAKE) -C $(BUILD)/extension SQL=$(CURDIR)/sql PG_CONFIG=$(PG_CONFIG) DESTDIR=$(DESTDIR) install)
	@for unit in deploy/systemd/*.service deploy/systemd/*.timer; do \
		echo "  UNIT  $(DESTDIR)$(UNIT_DIR)/$${unit##*/}"; \
		install -d $(DESTDIR)$(UNIT_DIR) && sed 's|@PREFIX@|$(PREFIX)|' $$unit >$(DESTDIR)$(UNIT_DIR)/$${unit##*/} || exit 1; \
	done
	install -D -m 644 deploy/systemd/common.conf $(DESTDIR)$(UNIT_DIR)/mbackup.service.d/10-common.conf
	install -D -m 644 deploy/systemd/common.conf $(DESTDIR)$(UNIT_DIR)/mbackup-.service.d/10-common.conf
	install -D -m 644 deploy/systemd/mbackup.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/mbackup.conf
	install -D -m 644 deploy/prometheus/mbackup.rules.yml $(DESTDIR)$(PREFIX)/share/mbackup/mbackup.rules.yml
	install -D -m 644 deploy/grafana/mbackup.json $(DESTDIR)$(PREFIX)/share/mbackup/grafana.json
	install -d $(DESTDIR)$(PREFIX)/share/doc/mbackup
	install -m 644 docs/*.md $(DESTDIR)$(PREFIX)/share/doc/mbackup/
	@install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,man/man1 man/man5 bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	$(BUILD)/mbackup help --format man >$(DESTDIR)$(PREFIX)/share/man/man1/mbackup.1
	$(BUILD)/mbackup help mbackup.conf --format man >$(DESTDIR)$(PREFIX)/share/man/man5/mbackup.conf.5
	@for command in $$($(BUILD)/mbackup completion answer -- "" | sed '1d; s/\t.*//'); do \
		echo "  MAN   $(DESTDIR)$(PREFIX)/share/man/man1/mbackup-$$command.1"; \
		$(BUILD)/mbackup help $$command --format man >$(DESTDIR)$(PREFIX)/share/man/man1/mbackup-$$command.1 || exit 1; \
	done
	install -m 644 cli/completion/mbackup.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/mbackup
	install -m 644 cli/completion/mbackup.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_mbackup
	install -m 644 cli/completion/mbackup.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/mbackup.fish

clean:
	rm -rf $(BUILD)

.PHONY: all clean extension format unit-bin fuzz-bin fuzz fuzz-all deps check check-fault check-long demo bench install
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
