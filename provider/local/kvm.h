// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Is there a KVM that is worth using? */
#include "base/base.h"

/* True when /dev/kvm opens and a virtual machine runs a short loop at a processor's speed. A KVM
 * that is itself emulated (as inside some containers and cloud machines) is slower than QEMU's own
 * translator, and is refused. Takes some milliseconds; the answer is kept. */
bool kvm_is_usable(void);
