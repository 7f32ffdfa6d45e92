/* SPDX-License-Identifier: Apache-2.0 */
#include "_cgo_export.h"

void hopmla_go_log(void *user, int32_t level, const char *text)
{
    hopmlaGoLog((uintptr_t)user, level, (char *)text);
}

int32_t hopmla_go_write(void *user, const void *text, uint64_t bytes)
{
    return hopmlaGoWrite((uintptr_t)user, (void *)text, bytes);
}
