DRIVER_SRC += $(wildcard walstreamer/*.c)
