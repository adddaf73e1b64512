// SPDX-License-Identifier: Apache-2.0
#include "kernel/drivers/vq.h"

void vq_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
