/* What a process uses, as the kernel says. */
#ifndef USAGE_H
#define USAGE_H

#include <dirent.h>
#include <sys/types.h>

#include "check.h"

static inline int descriptors_of(pid_t pid)
{
    char path[40];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    CHECK(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

/* Its memory that is not shared. */
static inline long private_kb_of(pid_t pid)
{
    char path[40], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "r");
    CHECK(status);
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "RssAnon: %ld", &kb) == 1)
            break;
    fclose(status);
    CHECK(kb >= 0);
    return kb;
}

#endif
