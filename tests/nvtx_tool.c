/* SPDX-License-Identifier: Apache-2.0 */
#include "nvtx_tool.h"

#include <nvtx3/nvToolsExt.h>
#include <nvtx3/nvToolsExtPayload.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCHEMA = 4711,
    NAMES = 32
};

nvtx_tool_log nvtx_tool;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char domain_name[32];
static char category_names[NAMES][32];
static char strings[NAMES][32];
static _Thread_local int depth;
static _Thread_local int open_ranges[NVTX_TOOL_RANGES];

static int is_like(const char *what)
{
    const char *wanted = getenv("NVTX_TOOL");
    return wanted && strcmp(wanted, what) == 0;
}

static void copy(char *to, const char *from)
{
    snprintf(to, 32, "%s", from);
}

/* The tool's handles are addresses of what they name. */
static nvtxDomainHandle_t NVTX_API create_domain(const char *name)
{
    nvtx_tool.domains++;
    copy(domain_name, name);
    return (nvtxDomainHandle_t)(void *)domain_name;
}

static nvtxStringHandle_t NVTX_API register_string(nvtxDomainHandle_t domain, const char *text)
{
    (void)domain;
    char *slot = strings[nvtx_tool.strings++ % NAMES];
    copy(slot, text);
    return (nvtxStringHandle_t)(void *)slot;
}

static void NVTX_API name_category(nvtxDomainHandle_t domain, uint32_t category, const char *name)
{
    (void)domain;
    copy(category_names[category % NAMES], name);
}

static void read_payload(nvtx_tool_range *range, const nvtxEventAttributes_t *attributes)
{
    if (attributes->payloadType != NVTX_PAYLOAD_TYPE_EXT) {
        return;
    }
    const nvtxPayloadData_t *data = (const nvtxPayloadData_t *)(uintptr_t)attributes->payload.ullValue;
    if (attributes->reserved0 != 1 || data->size > sizeof(range->payload)) {
        abort();
    }
    range->schema = data->schemaId;
    range->payload_bytes = data->size;
    memcpy(range->payload, data->payload, data->size);
}

static int NVTX_API push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *attributes)
{
    pthread_mutex_lock(&lock);
    const int at = nvtx_tool.n_ranges++ % NVTX_TOOL_RANGES;
    nvtx_tool_range *range = &nvtx_tool.ranges[at];
    memset(range, 0, sizeof(*range));
    copy(range->domain, (const char *)(const void *)domain);
    if (attributes->messageType == NVTX_MESSAGE_TYPE_REGISTERED) {
        copy(range->name, (const char *)(const void *)attributes->message.registered);
    }
    copy(range->category, category_names[attributes->category % NAMES]);
    range->thread = pthread_self();
    open_ranges[depth++ % NVTX_TOOL_RANGES] = at;
    range->depth = depth;
    read_payload(range, attributes);
    pthread_mutex_unlock(&lock);
    return depth - 1;
}

static int NVTX_API pop(nvtxDomainHandle_t domain)
{
    (void)domain;
    pthread_mutex_lock(&lock);
    if (depth == 0) {
        nvtx_tool.unbalanced++;
    } else {
        nvtx_tool.ranges[open_ranges[--depth % NVTX_TOOL_RANGES]].popped = 1;
    }
    pthread_mutex_unlock(&lock);
    return depth;
}

/* The payload extension. */

static uint64_t NVTX_API register_schema(nvtxDomainHandle_t domain, const nvtxPayloadSchemaAttr_t *schema)
{
    (void)domain;
    if (is_like("no-schema")) {
        return 0;
    }
    nvtx_tool.schemas++;
    copy(nvtx_tool.schema_name, schema->name);
    for (size_t i = 0; i < schema->numEntries && i < NVTX_TOOL_COLUMNS; i++) {
        nvtx_tool_column *column = &nvtx_tool.columns[nvtx_tool.n_columns++];
        copy(column->name, schema->entries[i].name);
        column->type = schema->entries[i].type;
        column->offset = schema->entries[i].offset;
    }
    return SCHEMA;
}

static uint8_t NVTX_API is_enabled(nvtxDomainHandle_t domain)
{
    return domain && !is_like("disabled");
}

uint64_t nvtx_tool_value(const nvtx_tool_range *range, const char *column)
{
    for (int i = 0; range->schema == SCHEMA && i < nvtx_tool.n_columns; i++) {
        const nvtx_tool_column *found = &nvtx_tool.columns[i];
        if (strcmp(found->name, column) == 0) {
            uint32_t narrow;
            uint64_t wide;
            memcpy(&narrow, range->payload + found->offset, sizeof(narrow));
            memcpy(&wide, range->payload + found->offset, sizeof(wide));
            return found->type == NVTX_PAYLOAD_ENTRY_TYPE_UINT32 ? narrow : wide;
        }
    }
    abort();
}

/* What NVTX looks for. */

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table);
int InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t *module);

#define SET(table, id, function)                                                                                       \
    do {                                                                                                               \
        *(table)[id] = (NvtxFunctionPointer)(function);                                                                \
    } while (0)

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table)
{
    const NvtxExportTableCallbacks *callbacks = get_table(NVTX_ETID_CALLBACKS);
    NvtxFunctionTable table;
    unsigned size;
    if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size)) {
        return 0;
    }
    SET(table, NVTX_CBID_CORE2_DomainCreateA, create_domain);
    SET(table, NVTX_CBID_CORE2_DomainRegisterStringA, register_string);
    SET(table, NVTX_CBID_CORE2_DomainNameCategoryA, name_category);
    SET(table, NVTX_CBID_CORE2_DomainRangePushEx, push);
    SET(table, NVTX_CBID_CORE2_DomainRangePop, pop);
    nvtx_tool.attached++;
    return 1;
}

int InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t *module)
{
    if (module->moduleId != NVTX_EXT_PAYLOAD_MODULEID) {
        return 0;
    }
    module->segments->functionSlots[NVTX3EXT_CBID_nvtxPayloadSchemaRegister] = (intptr_t)register_schema;
    module->segments->functionSlots[NVTX3EXT_CBID_nvtxDomainIsEnabled] = (intptr_t)is_enabled;
    return 1;
}
