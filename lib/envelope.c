/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/envelope.h"

#include "lib/error.h"

hopmla_status hm_check_fields(const char *what, const hm_field *fields, uint32_t count, hopmla_error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        const hm_field *f = &fields[i];
        if (f->value < f->lowest || f->value > f->highest) {
            return hm_fail(error, HOPMLA_ERROR_ARGUMENT, "%s.%s is %llu, must be %llu … %llu", what, f->name,
                           (unsigned long long)f->value, (unsigned long long)f->lowest, (unsigned long long)f->highest);
        }
    }
    return HOPMLA_OK;
}

hopmla_status hm_check_format(const char *what, int32_t format, hopmla_error *error)
{
    if (!hm_format_is_known(format)) {
        return hm_fail(error, HOPMLA_ERROR_ENUM,
                       "%s.format is %d, must be HOPMLA_KV_BF16, _FP16, _BF16_NOPE or _FP16_NOPE", what, (int)format);
    }
    return HOPMLA_OK;
}

hopmla_status hm_check_lse(const char *what, int32_t lse, hopmla_error *error)
{
    if (lse < HOPMLA_LSE_NATURAL || lse > HOPMLA_LSE_NATURAL_POSINF) {
        return hm_fail(error, HOPMLA_ERROR_ENUM, "%s.lse is %d, must be HOPMLA_LSE_NATURAL, _BASE2 or _NATURAL_POSINF",
                       what, (int)lse);
    }
    return HOPMLA_OK;
}
