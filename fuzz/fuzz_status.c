// SPDX-License-Identifier: Apache-2.0
/* What a guest says on its status port, as any bytes. */
#include "base/mem.h"
#include "provider/local/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct instance_info info = {.pid = 1};
    status_parse((const char *)data, size, &info);
    ASSERT(info.status >= 0 && info.status <= 255);
    ASSERT(info.state != INSTANCE_KILLED);
    ASSERT(strnlen(info.text, sizeof(info.text)) < sizeof(info.text));
    status_end(&info, "qemu: gone\n");
    ASSERT(info.state != INSTANCE_RUNNING && info.pid == 0);
    return 0;
}
