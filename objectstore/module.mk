DRIVER_SRC += $(wildcard objectstore/*.c)
