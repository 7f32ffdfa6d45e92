/* SPDX-License-Identifier: Apache-2.0 */

/* Which instruction sets this build and this processor have. */

#if HOPMLA_HAVE_AVX2
#include <cpuid.h>
#endif

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"

#if HOPMLA_HAVE_AVX2
/* __builtin_cpu_supports asks the operating system too (XCR0). It does not know F16C in every compiler. */
static int have_avx2(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) &&
           (c & bit_F16C);
}
#endif

int32_t hm_cpu_detect_isa(void)
{
#if HOPMLA_HAVE_AVX2
    __builtin_cpu_init();
    if (!have_avx2()) {
        return HOPMLA_CPU_ISA_PORTABLE;
    }
#if HOPMLA_HAVE_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        return HOPMLA_CPU_ISA_AVX512;
    }
#endif
    return HOPMLA_CPU_ISA_AVX2;
#else
    return HOPMLA_CPU_ISA_PORTABLE;
#endif
}

const hm_isa *hm_cpu_isa(int32_t isa)
{
#if HOPMLA_HAVE_AVX512
    if (isa == HOPMLA_CPU_ISA_AVX512) {
        return &hm_isa_avx512;
    }
#endif
#if HOPMLA_HAVE_AVX2
    if (isa >= HOPMLA_CPU_ISA_AVX2) {
        return &hm_isa_avx2;
    }
#endif
    (void)isa;
    return &hm_isa_portable;
}
