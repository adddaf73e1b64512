// SPDX-License-Identifier: Apache-2.0
#pragma once
/* /dev/console and /dev/tty: the serial line as a terminal in raw mode. */
#include "kernel/vfs/file.h"

extern const struct file_ops console_file_ops;
