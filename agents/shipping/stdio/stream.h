/* Shared by the two halves of the library: the streams (stream.c) and what is made from them (text.c). */
#ifndef CS_STREAM_H
#define CS_STREAM_H

#include "cs_stdio.h"

/* All of it into the stream, on to its device where that is due. 0 or EOF with errno. */
int cs_stream_put(CS_FILE *f, const void *from, size_t count);
/* The stream's error indicator, and EOF. */
int cs_stream_fail(CS_FILE *f, int error);

#endif
