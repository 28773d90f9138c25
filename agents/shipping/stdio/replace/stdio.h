/* For -I: the system's <stdio.h> with the standard I/O library replaced. */
#include_next <stdio.h>

#include "../cs_stdio.h"
