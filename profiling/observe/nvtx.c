/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/observe/nvtx.h"

#include <nvtx3/nvToolsExt.h>
#include <nvtx3/nvToolsExtPayload.h>
#include <pthread.h>
#include <stddef.h>

#include "hopmla/profile.h"

/* What a tool shows of a range. Figures that are not known are 0. */
typedef struct payload {
    uint64_t kv_tokens;
    uint64_t bytes;
    uint64_t flops;
    uint64_t plan;
    uint32_t batch;
    uint32_t rows;
    uint32_t layer;
    uint32_t calls;
} payload;

#define COLUMN(field, column_type, column_name, text)                                                                  \
    {                                                                                                                  \
        .type = NVTX_PAYLOAD_ENTRY_TYPE_##column_type, .name = (column_name), .description = (text),                   \
        .offset = offsetof(payload, field)                                                                             \
    }

static const nvtxPayloadSchemaEntry_t columns[] = {
    COLUMN(batch, UINT32, "batch", "rows of the batch"),
    COLUMN(rows, UINT32, "rows", "query tokens of a decode, tokens of an append or gather"),
    COLUMN(kv_tokens, UINT64, "kv tokens", "cached tokens of the rows that decode"),
    COLUMN(bytes, UINT64, "bytes", "analytic bytes"),
    COLUMN(flops, UINT64, "FLOPs", "analytic FLOPs"),
    COLUMN(layer, UINT32, "layer", "layer of the pool"),
    COLUMN(calls, UINT32, "calls", "calls in the graph, else 1"),
    COLUMN(plan, UINT64, "plan", "number of the plan, 0 without one"),
};

enum {
    COLUMNS = sizeof(columns) / sizeof(columns[0]),
    KINDS = HOPMLA_CALL_LAUNCH + 1
};

static const char *const names[KINDS] = { "", "append", "decode", "gather", "update", "launch" };

/* Categories are of what a call is for; their numbers are 1 and on. */
static const char *const category_names[] = { "append", "decode", "pool", "plan" };
static const uint32_t categories[KINDS] = { 0, 1, 2, 3, 4, 4 };

static struct {
    nvtxDomainHandle_t domain;
    nvtxStringHandle_t name[KINDS];
    uint64_t schema; /* 0 where the tool does not take any */
} nvtx;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_domain(void)
{
    nvtx.domain = nvtxDomainCreateA("hopmla");
    if (!nvtxDomainIsEnabled(nvtx.domain)) {
        return;
    }
    for (uint32_t i = 0; i < sizeof(category_names) / sizeof(category_names[0]); i++) {
        nvtxDomainNameCategoryA(nvtx.domain, i + 1, category_names[i]);
    }
    for (int kind = 1; kind < KINDS; kind++) {
        nvtx.name[kind] = nvtxDomainRegisterStringA(nvtx.domain, names[kind]);
    }
    const nvtxPayloadSchemaAttr_t schema = {
        .fieldMask = NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NAME | NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_TYPE |
                     NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_ENTRIES | NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NUM_ENTRIES |
                     NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_STATIC_SIZE,
        .name = "hopmla call",
        .type = NVTX_PAYLOAD_SCHEMA_TYPE_STATIC,
        .entries = columns,
        .numEntries = COLUMNS,
        .payloadStaticSize = sizeof(payload),
    };
    nvtx.schema = nvtxPayloadSchemaRegister(nvtx.domain, &schema);
}

int hm_nvtx_listens(void)
{
    pthread_once(&once, make_domain);
    return nvtxDomainIsEnabled(nvtx.domain) != 0;
}

void hm_nvtx_push(const hm_call *call)
{
    const payload values = {
        .kv_tokens = call->kv_tokens,
        .bytes = call->bytes,
        .flops = call->flops,
        .plan = call->plan,
        .batch = call->batch,
        .rows = call->rows,
        .layer = call->layer,
        .calls = call->calls,
    };
    /* By hand: the headers' macros for this do not compile as C. */
    const nvtxPayloadData_t data = { .schemaId = nvtx.schema, .size = sizeof(values), .payload = &values };
    nvtxEventAttributes_t attributes = {
        .version = NVTX_VERSION,
        .size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
        .category = categories[call->kind],
        .messageType = NVTX_MESSAGE_TYPE_REGISTERED,
        .message.registered = nvtx.name[call->kind],
    };
    if (nvtx.schema) {
        attributes.payloadType = NVTX_PAYLOAD_TYPE_EXT;
        attributes.reserved0 = 1; /* payloads that `payload` points to */
        attributes.payload.ullValue = (uint64_t)(uintptr_t)&data;
    }
    nvtxDomainRangePushEx(nvtx.domain, &attributes);
}

void hm_nvtx_pop(void)
{
    nvtxDomainRangePop(nvtx.domain);
}
