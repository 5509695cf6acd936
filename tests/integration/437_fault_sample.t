#!/bin/bash
# A sample, by a seed that is printed, of the fault sweep: commands of mbackup on a small stack, while one of their system calls
# fails, is short, is late, is their last, or the clock jumps. Nothing is lost, nothing hangs, nothing is claimed. All of it: make check-fault.
# MBACKUP_SEED=N: the same sample again.
exec bash "$(dirname "$0")/../fault/run" --seconds 60 --commands 14 --per-place 1
