// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/base.h"

/* "ENOENT" for 2; "E?" for a number without a name. */
const char *errno_name(int error);
