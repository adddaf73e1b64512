// SPDX-License-Identifier: Apache-2.0
/* JSON bodies of the control plane's API: specs, reports of agents and edges, desired states. What
 * is accepted as a spec must come back the same. */
#include <string.h>

#include "control/desired.h"
#include "control/sight.h"
#include "control/spec.h"
#include "host/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void spec_there_and_back(json_t *j)
{
    struct app_spec s, again;
    struct err e = {0};
    if (spec_from_json("body", j, &s, &e) < 0)
        return;
    json_auto_t *out = spec_to_json(&s);
    ASSERT(spec_from_json("body", out, &again, &e) == 0);
    json_auto_t *out_again = spec_to_json(&again);
    ASSERT(json_equal(out, out_again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_auto_t *j = NULL;
    struct err e = {0};
    if (json_read_text((const char *)data, size, "body", &j, &e) < 0)
        return 0;
    spec_there_and_back(j);
    struct agent_report a = {0};
    if (agent_report_parse(j, &a, &e) == 0)
        agent_report_deinit(&a);
    struct edge_report b = {0};
    if (edge_report_parse(j, &b, &e) == 0)
        edge_report_deinit(&b);
    struct desired d = {0};
    if (desired_parse(j, "r", &d, &e) == 0)
        desired_deinit(&d);
    return 0;
}
