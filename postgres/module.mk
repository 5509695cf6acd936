DRIVER_SRC += $(wildcard postgres/*.c)
