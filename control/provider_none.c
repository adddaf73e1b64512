// SPDX-License-Identifier: Apache-2.0
/* Stands in where the build has no provider of its own: every name is unknown. */
#include <errno.h>

#include "provider/provider.h"

__attribute__((weak)) const struct provider_ops *provider_find(const char *name, struct err *e)
{
    (void)err_set(e, -ENOENT, "no provider '%s' in this build", name);
    return NULL;
}
