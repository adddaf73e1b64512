// SPDX-License-Identifier: Apache-2.0
#pragma once
const char *__lsan_default_suppressions(void);

// libfyaml 0.7 loses 2 to 4 KiB on some broken documents; a command reads one and ends.
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}
