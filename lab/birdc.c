// SPDX-License-Identifier: Apache-2.0
#include "lab/birdc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/fd.h"

enum { REPLY_TIMEOUT_S = 2, CODE_LEN = 4 };

static int connect_to(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd < 0 ? -errno : fd;
}

/* Take one line "CODE TEXT" (a row of an answer that goes on has '-' or starts with a blank).
 * 1: it was the last; -EIO: it was an error; 0: more follow. */
static int take_line(const char *line, char *ret, size_t max, size_t *len)
{
    bool coded = strspn(line, "0123456789") == CODE_LEN;
    const char *text = coded ? line + MIN(strlen(line), (size_t)CODE_LEN + 1) : line;
    int n = snprintf(ret + *len, max - *len, "%s\n", text);
    *len = MIN(*len + (size_t)MAX(n, 0), max - 1);
    if (!coded || line[CODE_LEN] == '-')
        return 0;
    return line[0] == '8' || line[0] == '9' ? -EIO : 1;
}

static int read_reply(FILE *f, char *ret, size_t max)
{
    char line[1024];
    size_t len = 0;
    ret[0] = '\0';
    while (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        int r = take_line(line, ret, max, &len);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return -ETIMEDOUT;
}

int birdc(const char *socket_path, const char *command, char *ret, size_t max, struct err *err)
{
    int fd = connect_to(socket_path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r+");
    if (f == NULL) {
        int r = fd < 0 ? fd : -errno;
        fd_closep(&fd);
        return err_set(err, r, "%s: %s", socket_path, strerror(-r));
    }
    int r = read_reply(f, ret, max); // the greeting
    if (r == 0) {
        fprintf(f, "%s\n", command);
        fflush(f);
        r = read_reply(f, ret, max);
    }
    fclose(f);
    return r < 0 ? err_set(err, r, "BIRD: '%s': %.200s", command, ret) : 0;
}

void birdc_count_bfd(const char *answer, unsigned *ret_all, unsigned *ret_up)
{
    *ret_all = *ret_up = 0;
    for (const char *line = answer; *line != '\0';) {
        char addr[64], dev[32], state[16];
        if (sscanf(line, "%63s %31s %15s", addr, dev, state) == 3 &&
            strspn(addr, "0123456789.") == strlen(addr)) {
            ++*ret_all;
            *ret_up += strcmp(state, "Up") == 0;
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
}
