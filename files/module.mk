DRIVER_SRC += $(wildcard files/*.c)
