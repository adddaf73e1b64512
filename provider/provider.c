// SPDX-License-Identifier: Apache-2.0
#include "provider/provider.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "provider/local/local.h"

static const struct provider_ops *const providers[] = {&local_ops};

const struct provider_ops *provider_find(const char *name, struct err *e)
{
    char known[256] = "";
    for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
        if (strcmp(providers[i]->name, name) == 0)
            return providers[i];
        size_t len = strlen(known);
        snprintf(known + len, sizeof(known) - len, "%s'%s'", i > 0 ? ", " : "", providers[i]->name);
    }
    err_set(e, -ENOENT, "no provider '%.64s': there is %s", name, known);
    return NULL;
}

int provider_kernel_find(char *ret, size_t max, struct err *e)
{
    char self[4096] = "";
    const char *given = getenv("SKERRY_KERNEL");
    if (given != NULL && given[0] != '\0') {
        if (access(given, R_OK) != 0)
            return err_set(e, -ENOENT, "SKERRY_KERNEL: %s: %s", given, strerror(errno));
        snprintf(ret, max, "%s", given);
        return 0;
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[MAX(n, (ssize_t)0)] = '\0';
    char *slash = strrchr(self, '/');
    if (slash != NULL)
        *slash = '\0';
    static const char *const places[] = {"%s/kernel.elf", "%s/../lib/skerry/kernel.elf",
                                         SKERRY_KERNEL_INSTALLED};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        bool beside = places[i][0] == '%';
        int len = snprintf(ret, max, "%s%s", beside ? self : "", places[i] + (beside ? 2 : 0));
        if (len > 0 && (size_t)len < max && access(ret, R_OK) == 0)
            return 0;
    }
    return err_set(e, -ENOENT,
                   "no kernel: neither %s/kernel.elf nor " SKERRY_KERNEL_INSTALLED
                   " is there; set SKERRY_KERNEL or use --kernel",
                   self);
}
