/* The kept inputs beside these programs: text, one input a line, comments behind #. */
#ifndef CORPUS_H
#define CORPUS_H

#include <stdbool.h>

#include "check.h"

enum { CORPUS_LINE = 1024 };

static inline FILE *corpus_open(const char *name)
{
    char path[4096];
    int length = (int)(strrchr(__FILE__, '/') - __FILE__);
    snprintf(path, sizeof path, "%.*s/../corpus/%s", length, __FILE__, name);
    FILE *file = fopen(path, "r");
    CHECK(file);
    return file;
}

/* The next line that has an input; false at the end. */
static inline bool corpus_line(FILE *file, char line[CORPUS_LINE])
{
    while (fgets(line, CORPUS_LINE, file))
        if (line[0] != '#' && line[0] != '\n')
            return true;
    return false;
}

static inline void corpus_says(const char *line, int64_t got, int64_t wanted)
{
    if (got == wanted)
        return;
    fprintf(stderr, "answered with %lld: %s", (long long)got, line);
    exit(1);
}

#endif
