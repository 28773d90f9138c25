/* A back end without a network: each interface is one end of a socket pair; a message there is a frame.
 * It takes the place of the XDP back end, and like that one receives only into pages it was given before. */
#ifndef FAKE_WIRE_H
#define FAKE_WIRE_H

#include <stdatomic.h>
#include <stdint.h>

#include "net/backend.h"

enum { WIRE_HEADROOM = 256 };

/* The manager's ends, taken in the order in which interfaces are opened. */
extern int wire_ends[8];
extern int wires_opened;
/* How many bytes of a frame land in its first part, and frames that can be sent: for tests that vary them. */
extern uint32_t wire_first_part, wire_room;
/* Set to 1 at each kick, so that cs_manager_run makes a single pass. May be NULL. */
extern _Atomic int *wire_stop;

#endif
