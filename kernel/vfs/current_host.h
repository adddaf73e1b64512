// SPDX-License-Identifier: Apache-2.0
#pragma once
/* On the host current() is a function of the test's world, not a register: included before every
 * file of a host build (-include), so that the kernel's own inline one gets another name. */
#define current current_of_cpu
#include "kernel/sched/task.h"
#undef current
struct task *current(void);
