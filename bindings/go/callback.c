/* SPDX-License-Identifier: Apache-2.0 */
#include "_cgo_export.h"

void hopmla_go_log(void *user, int32_t level, const char *text)
{
    hopmlaGoLog((uintptr_t)user, level, (char *)text);
}
