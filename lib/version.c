/* SPDX-License-Identifier: Apache-2.0 */
#include "hopmla/version.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

uint32_t hopmla_version(void)
{
    return (uint32_t)HOPMLA_VERSION_MAJOR << 16 | (uint32_t)HOPMLA_VERSION_MINOR << 8 | (uint32_t)HOPMLA_VERSION_PATCH;
}

const char *hopmla_version_string(void)
{
    return TEXT(HOPMLA_VERSION_MAJOR) "." TEXT(HOPMLA_VERSION_MINOR) "." TEXT(HOPMLA_VERSION_PATCH);
}

uint32_t hopmla_abi_version(void)
{
    return HOPMLA_ABI_VERSION;
}
