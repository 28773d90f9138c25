#include "io_system.h"

#include <stddef.h>
#include <string.h>

static const struct io_system_ops *const systems[] = {&io_linux, &io_linux_batch, &io_copy, &io_shipping};

const struct io_system_ops *io_system_at(int index)
{
    return index >= 0 && (size_t)index < sizeof systems / sizeof *systems ? systems[index] : NULL;
}

const struct io_system_ops *io_system(const char *name)
{
    const struct io_system_ops *system;
    for (int i = 0; (system = io_system_at(i)); i++)
        if (strcmp(system->name, name) == 0)
            return system;
    return NULL;
}
