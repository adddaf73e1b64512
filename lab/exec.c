// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lab/lab.h"

int lab_exec(const struct lab *lab, const char *place, char *const *argv, struct err *err)
{
    char name[NETNS_NAME_MAX];
    snprintf(name, sizeof(name), "%s-%s", lab->name, place);
    int r = lab_privileges(err);
    if (r < 0)
        return r;
    int fd = netns_open(name, err); // close-on-exec
    if (fd == -ENOENT)
        return err_set(err, fd, "no city '%s' in the lab (or it is not up)", place);
    if (fd < 0)
        return fd;
    if (setns(fd, CLONE_NEWNET) < 0)
        return err_set(err, -errno, "namespace '%s': %s", name, strerror(errno));
    execvp(argv[0], argv);
    return err_set(err, -errno, "%s: %s", argv[0], strerror(errno));
}
