CORE_SRC += $(wildcard core/base/*.c) $(wildcard core/repo/*.c) $(wildcard core/engine/*.c)
