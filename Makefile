# mbackup - one recovery point for Postgres, buckets, Redis and configuration files.
#
#   make demo        install what is needed, build, run the main job on a throw-away stack
#   make check       install what is needed, build, run every test
#   make             build only          make check-long   the long kill and flip sweeps
#   make check-fault PART=1/5: every command, while each of its system calls fails in turn
#   make format      clang-format        make bench        against the peers
#   make fuzz        TARGET=rdb SECONDS=3600: libFuzzer          make fuzz-all    SECONDS=60 for each target
#   make install     PREFIX=/usr/local   make extension     CREATE EXTENSION mbackup, for the server of PG_CONFIG
#   make uninstall                       make release deb       what is given away (tools/release.mk)
#
# Non-recursive: every folder has a module.mk that adds to the lists below.

BUILD ?= build
JOBS := $(shell nproc 2>/dev/null || echo 2)
CC ?= cc
PG_CONFIG ?= pg_config
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
# The one place that says which version this is.
VERSION := $(file <VERSION)
VERSION_DATE := $(shell sed -n "s/^\#\# .$(VERSION). - //p" CHANGELOG.md)
WARNINGS = -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wvla
CPPFLAGS += -D_GNU_SOURCE -I. -I$(BUILD) -MMD -MP
# Where it was built says nothing about a program: two builds of the same sources are the same.
ALL_CFLAGS = -std=c11 $(WARNINGS) -fPIC -pthread -fstack-protector-strong -ffile-prefix-map=$(CURDIR)=. $(CFLAGS)

# Libraries by the names of their pkg-config files; without pkg-config by their own names.
PC_CORE = libzstd libcrypto libarchive libxxhash jansson
PC_MBACKUP = $(PC_CORE) libpq hiredis libssl inih libcurl expat libmicrohttpd
PC_WAL_GET = libxxhash jansson
pc_libs = $(or $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null),$(addprefix -l,$(patsubst lib%,%,$(1))))
LDLIBS_CORE := $(call pc_libs,$(PC_CORE)) -lpthread
LDLIBS_MBACKUP := $(call pc_libs,$(PC_MBACKUP)) -lpthread
LDLIBS_WAL_GET := $(call pc_libs,$(PC_WAL_GET))

CORE_SRC :=
DRIVER_SRC :=
CLI_SRC :=
UNIT_CLI_SRC :=
UNIT_TESTS :=
FUZZ_TARGETS :=
MODULES = core postgres walstreamer objectstore redis files cli tests

all: $(BUILD)/mbackup $(BUILD)/mbackup-wal-get

include $(wildcard $(addsuffix /module.mk,$(MODULES)))

PC_CFLAGS := $(or $(shell $(PKG_CONFIG) --cflags $(PC_MBACKUP) 2>/dev/null),$(shell $(PG_CONFIG) --includedir 2>/dev/null | sed 's/^/-I/'))
CPPFLAGS += $(PC_CFLAGS)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
CORE_OBJ = $(call obj,$(CORE_SRC))
DRIVER_OBJ = $(call obj,$(DRIVER_SRC))
CLI_OBJ = $(call obj,$(CLI_SRC))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c $< -o $@

# Only the command line says its version.
$(BUILD)/cli/%.o: private CPPFLAGS += -DMB_VERSION='"$(VERSION)"' -DMB_VERSION_DATE='"$(VERSION_DATE)"'
$(call obj,$(CLI_SRC)): VERSION

# Taken in by the assembler: -MMD does not see it.
$(BUILD)/cli/http_page.o: cli/status.html
$(BUILD)/cli/manual_source.o: cli/manual.txt
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
	tests/run $$(($(JOBS) + 1)) $(shell ls -r tests/integration/*.t) $(wildcard tests/fuzz/*.t) \
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

include deploy/install.mk tools/release.mk

clean:
	rm -rf $(BUILD)

.PHONY: all clean format unit-bin fuzz-bin fuzz fuzz-all deps check check-fault check-long demo bench
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
