// SPDX-License-Identifier: Apache-2.0
#include "control/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *m)
{
    *m = (struct mailbox){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (m->fd < 0)
        return -errno;
    pthread_mutex_init(&m->lock, NULL);
    return 0;
}

void mailbox_deinit(struct mailbox *m)
{
    if (m->fd > 0) {
        close(m->fd);
        free(m->text);
        pthread_mutex_destroy(&m->lock);
    }
    *m = (struct mailbox){0};
}

void mailbox_put(struct mailbox *m, char *text)
{
    pthread_mutex_lock(&m->lock);
    char *old = m->text;
    m->text = text;
    eventfd_write(m->fd, 1);
    pthread_mutex_unlock(&m->lock);
    free(old);
}

char *mailbox_take(struct mailbox *m)
{
    eventfd_t n;
    pthread_mutex_lock(&m->lock);
    char *text = TAKE(m->text);
    eventfd_read(m->fd, &n);
    pthread_mutex_unlock(&m->lock);
    return text;
}
