/* SPDX-License-Identifier: Apache-2.0 */
/* A CUPTI from before all that is needed. */
#include "profiling/cupti/library.h"

CUptiResult cuptiGetVersion(uint32_t *version)
{
    *version = 18;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiGetResultString(CUptiResult code, const char **text)
{
    (void)code;
    *text = "CUPTI_OF_A_TEST";
    return CUPTI_SUCCESS;
}
