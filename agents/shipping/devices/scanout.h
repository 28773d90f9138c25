/* What a frame buffer with DMA holds: the containers of the frame that it shows and of the one that is being written. No
 * byte is moved by a CPU; the picture is in the containers until the next one is whole. It is copied into the memory of
 * the frame buffer only for somebody who looks at it, or when its writer leaves and wants its pages back. */
#ifndef CS_SCANOUT_H
#define CS_SCANOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "../net/frame.h"
#include "framebuffer.h"

struct cs_manager;
struct cs_endpoint;
struct cs_scanout;

struct cs_scanout *cs_scanout_make(void); /* NULL: no memory */

/* Will it keep this container until what is in it is no longer shown? Not when its list is full, nor more than a part of the
 * pool: what is kept counts as nobody's. */
bool cs_scanout_takes(struct cs_manager *m, const struct cs_scanout *s, uint32_t page);
/* Bytes of a container that it keeps are the frame's of that writer at that position; `last`: nothing else is in it. */
void cs_scanout_add(struct cs_scanout *s, struct cs_endpoint *writer, uint32_t position, struct cs_part part, bool last);
/* A container that it kept goes, before its last bytes were added. */
void cs_scanout_drop(struct cs_manager *m, uint32_t page);
/* The frame is whole, and number `frame` (from 0) of the memory: it is shown, and the one before goes back to its writer. */
void cs_scanout_flip(struct cs_manager *m, struct cs_scanout *s, uint64_t frame);
/* Copy what is shown into the memory; its containers go back. Nothing where that was done. */
void cs_scanout_fetch(struct cs_manager *m, struct cs_scanout *s, struct cs_framebuffer_memory *memory);
/* That writer leaves: its picture stays, in the memory; the frame that it left unfinished does not. */
void cs_scanout_leave(struct cs_manager *m, struct cs_scanout *s, struct cs_framebuffer_memory *memory,
                      const struct cs_endpoint *writer);
/* Nothing is shown any more. */
void cs_scanout_free(struct cs_manager *m, struct cs_scanout *s);

#endif
