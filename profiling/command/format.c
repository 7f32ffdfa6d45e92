/* SPDX-License-Identifier: Apache-2.0 */
#include "format.h"

#include <string.h>

static const struct {
    const char *name;
    int32_t dtype;
    bool nope;
} formats[] = {
    [HOPMLA_KV_BF16] = { "bf16", HOPMLA_DTYPE_BF16, false },
    [HOPMLA_KV_FP16] = { "fp16", HOPMLA_DTYPE_FP16, false },
    [HOPMLA_KV_BF16_NOPE] = { "bf16-nope", HOPMLA_DTYPE_BF16, true },
    [HOPMLA_KV_FP16_NOPE] = { "fp16-nope", HOPMLA_DTYPE_FP16, true },
};

int32_t format_of(int32_t dtype, bool nope)
{
    int32_t format = HOPMLA_KV_BF16;
    while (formats[format].dtype != dtype || formats[format].nope != nope)
        ++format;
    return format;
}

int32_t format_dtype(int32_t format)
{
    return formats[format].dtype;
}

bool format_is_nope(int32_t format)
{
    return formats[format].nope;
}

uint32_t format_values(int32_t format)
{
    return formats[format].nope ? HOPMLA_LATENT_DIM : HOPMLA_QK_DIM;
}

uint32_t format_row_bytes(int32_t format)
{
    return format_values(format) * 2;
}

uint32_t format_page_bytes(int32_t format)
{
    return HOPMLA_PAGE_TOKENS * format_row_bytes(format);
}

const char *format_name(int32_t format)
{
    return formats[format].name;
}

bool format_named(const char *name, int32_t *format)
{
    for (int32_t i = HOPMLA_KV_BF16; i <= HOPMLA_KV_FP16_NOPE; ++i) {
        if (strcmp(name, formats[i].name) == 0) {
            *format = i;
            return true;
        }
    }
    return false;
}
