/* source.h - walstreamer's side of postgres/wal_source.h; given to the driver by cli/drivers.c. */
#ifndef MB_WALSTREAMER_SOURCE_H
#define MB_WALSTREAMER_SOURCE_H

#include "postgres/wal_source.h"

extern const struct mb_wal_ops mb_walstreamer_ops;

#endif
