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

/* A number behind those words in a file of its process. */
static inline long kb_of(pid_t pid, const char *file, const char *words)
{
    char path[60], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *lines = fopen(path, "r");
    CHECK(lines);
    while (kb < 0 && fgets(line, sizeof line, lines))
        if (strncmp(line, words, strlen(words)) == 0)
            kb = strtol(line + strlen(words), NULL, 10);
    fclose(lines);
    CHECK(kb >= 0);
    return kb;
}

/* Its memory that is not shared. */
static inline long private_kb_of(pid_t pid)
{
    return kb_of(pid, "status", "RssAnon:");
}

/* Its part of all memory but the pages of programs and libraries: what n processes share counts as an n-th for each, and how
 * many run the same library is no matter of the host's. */
static inline long part_kb_of(pid_t pid)
{
    return kb_of(pid, "smaps_rollup", "Pss_Anon:") + kb_of(pid, "smaps_rollup", "Pss_Shmem:");
}

#endif
