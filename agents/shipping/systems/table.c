#include "io_system.h"

#include <stddef.h>
#include <string.h>

static const struct io_system_ops *const datagram[] = {&io_linux, &io_linux_batch, &io_copy, &io_shipping, NULL};
static const struct io_system_ops *const local[] = {&io_linux_stream, &io_copy, &io_shipping, NULL};

static const struct io_system_ops *find(const struct io_system_ops *const *table, const char *name)
{
    while (*table && strcmp((*table)->name, name) != 0)
        table++;
    return *table;
}

const struct io_system_ops *io_system_at(int index)
{
    return index >= 0 && (size_t)index < sizeof datagram / sizeof *datagram ? datagram[index] : NULL;
}

const struct io_system_ops *io_system(const char *name)
{
    return find(datagram, name);
}

const struct io_system_ops *io_local_system_at(int index)
{
    return index >= 0 && (size_t)index < sizeof local / sizeof *local ? local[index] : NULL;
}

const struct io_system_ops *io_local_system(const char *name)
{
    return find(local, name);
}
