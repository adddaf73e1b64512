// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the rest of the kernel knows of epoll. */
#include "base/base.h"

struct file;

/* The file's last reference is gone: forget its registrations. Task context. */
NONNULL void epoll_file_gone(struct file *f);
