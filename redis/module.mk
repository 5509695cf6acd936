DRIVER_SRC += $(wildcard redis/*.c)
