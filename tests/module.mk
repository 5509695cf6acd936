UNIT_TESTS += $(notdir $(wildcard tests/unit/*_test.c))
FUZZ_TARGETS += $(notdir $(wildcard tests/fuzz/*_fuzz.c))
FUZZ_MAIN = $(BUILD)/tests/fuzz/replay.o
