/* capture_private.h - what the files of capture.h share. */
#ifndef MB_ENGINE_CAPTURE_PRIVATE_H
#define MB_ENGINE_CAPTURE_PRIVATE_H

#include "core/engine/capture.h"

/* The worker's reader of the parent's packs, made when it is first asked for. */
struct mb_pack_reader *mb_capture_reader(struct mb_capture *capture, unsigned worker);

#endif
