UNIT_TESTS += $(notdir $(wildcard tests/unit/*_test.c))
FUZZ_TARGETS += $(notdir $(wildcard tests/fuzz/*_fuzz.c))
FUZZ_MAIN = $(BUILD)/tests/fuzz/replay.o

# What makes system calls fail (LD_PRELOAD): never sanitized, it is loaded into any build.
FAULT_SRC = $(wildcard tests/fault/*.c)
$(BUILD)/fault.so: $(FAULT_SRC) tests/fault/fault.h
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) -std=c11 $(WARNINGS) -Wno-missing-prototypes -D_GNU_SOURCE -O2 -g -fPIC -shared -o $@ $(FAULT_SRC) -ldl

all: $(BUILD)/fault.so

# The daemon's HTTP side is in cli/, which no test is linked with: what of it stands alone is.
$(BUILD)/tests/unit/http_test: $(addprefix $(BUILD)/cli/,http_request.o http_metrics.o daemon_document.o)
$(BUILD)/tests/unit/http_test: LDLIBS_MBACKUP := $(BUILD)/libmbackup.a $(LDLIBS_MBACKUP)
$(BUILD)/tests/fuzz/http_host_fuzz: $(BUILD)/cli/http_request.o
$(BUILD)/tests/fuzz/config_fuzz: $(patsubst %.c,$(BUILD)/%.o,$(CONFIG_SRC))
$(BUILD)/tests/fuzz/cron_fuzz: $(patsubst %.c,$(BUILD)/%.o,$(CRON_SRC))
$(BUILD)/tests/fuzz/archive_fuzz: $(patsubst %.c,$(BUILD)/%.o,$(ARCHIVE_SRC))
$(BUILD)/tests/fuzz/backup_conf_fuzz: $(patsubst %.c,$(BUILD)/%.o,$(BACKUP_CONF_SRC))

# Files that are not there (LD_PRELOAD), for tests/bench/memory.
$(BUILD)/many.so: tests/bench/many.c
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) -std=c11 $(WARNINGS) -Wno-missing-prototypes -D_GNU_SOURCE -O2 -g -fPIC -shared -o $@ $< -ldl

all: $(BUILD)/many.so
