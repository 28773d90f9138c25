/* Datagrams that are too large for one frame, cut into IPv4 fragments (RFC 791, 3.2). Their data is not copied: a page
 * that the cut goes through is in both frames, and the pool counts in how many (cs_pool_share). */
#ifndef CS_FRAGMENT_H
#define CS_FRAGMENT_H

#include <stdint.h>

#include "frame.h"
#include "outbox.h"

/* The most that one datagram is cut into: the outbox must have so much room. */
#define CS_DATAGRAM_FRAGMENTS CS_DATAGRAM_PARTS

struct cs_netif;

/* Queue a datagram of `bytes` bytes in these parts, whose pages (state SENDING) go back to the pool when the device is
 * done with the last frame that they are in. How many fragments; or -EMSGSIZE: it is more than a datagram can be or
 * more fragments than allowed, -ENOBUFS: no page for headers; then the pages stay with the caller. */
int cs_fragment_put(struct cs_netif *n, const struct cs_part *part, uint32_t parts, uint32_t bytes, const struct cs_flow *flow,
                    uint16_t id);

#endif
