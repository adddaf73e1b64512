// SPDX-License-Identifier: Apache-2.0
#pragma once
/* A provider for tests: an instance is an ordinary process, the program SKERRY_FAKE_PROGRAM called
 * with IMAGE ADDRESS ID. Everything else is as the table in provider/provider.h says: processes
 * outlive the agent and are adopted again, ends are reported, consoles are files. It lets the whole
 * control plane be tested for real where there is no hypervisor. `skerryd agent --provider fake`.
 */
#include "provider/provider.h"

extern const struct provider_ops fake_provider_ops;
