/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_KERNELS_H
#define HM_SM90_KERNELS_H

/** @file
 * The one list of what the cubins hold. To add a kernel, add a line to HM_KERNELS; a .cu file, a line to HM_CUBINS and
 * to cuda_kernels in kernels/meson.build. Everything listed is loaded when a context is created. */

#include "kernels/sm90/params.h"
#include "kernels/sm90/probe.h"

/** Files: NAME.cu. */
#define HM_CUBINS(X)                                                                                                   \
    X(append)                                                                                                          \
    X(combine)                                                                                                         \
    X(decode)                                                                                                          \
    X(decode_cluster)                                                                                                  \
    X(decode_few)                                                                                                      \
    X(gather)                                                                                                          \
    X(probe)                                                                                                           \
    X(schedule)                                                                                                        \
    X(tables)

/** Kernels: X(name, cubin, dynamic shared memory in bytes at most, 1 when clusters of more than 8 CTAs are launched).
 * hm_NAME is its extern "C" name in the cubin, HM_KERNEL_NAME its number. */
#define HM_KERNELS(X)                                                                                                  \
    X(apply, tables, 0, 0)                                                                                             \
    X(copy_pages, tables, 0, 0)                                                                                        \
    X(append_copy, append, 0, 0)                                                                                       \
    X(append_fp32_to_bf16, append, 0, 0)                                                                               \
    X(append_fp32_to_fp16, append, 0, 0)                                                                               \
    X(combine_bf16, combine, 0, 0)                                                                                     \
    X(combine_fp16, combine, 0, 0)                                                                                     \
    X(decode_bf16, decode, HM_SM90_DECODE_SHARED, 0)                                                                   \
    X(decode_fp16, decode, HM_SM90_DECODE_SHARED, 0)                                                                   \
    X(decode_nope_bf16, decode, HM_SM90_DECODE_SHARED, 0)                                                              \
    X(decode_nope_fp16, decode, HM_SM90_DECODE_SHARED, 0)                                                              \
    X(decode_cluster1_bf16, decode_cluster, HM_SM90_CLUSTER_SHARED, 1)                                                 \
    X(decode_cluster1_fp16, decode_cluster, HM_SM90_CLUSTER_SHARED, 1)                                                 \
    X(decode_cluster2_bf16, decode_cluster, HM_SM90_CLUSTER_SHARED, 1)                                                 \
    X(decode_cluster2_fp16, decode_cluster, HM_SM90_CLUSTER_SHARED, 1)                                                 \
    X(decode_nope_cluster1_bf16, decode_cluster, HM_SM90_CLUSTER_SHARED, 1)                                            \
    X(decode_nope_cluster1_fp16, decode_cluster, HM_SM90_CLUSTER_SHARED, 1)                                            \
    X(decode_nope_cluster2_bf16, decode_cluster, HM_SM90_CLUSTER_SHARED, 1)                                            \
    X(decode_nope_cluster2_fp16, decode_cluster, HM_SM90_CLUSTER_SHARED, 1)                                            \
    X(decode_few16_bf16, decode_few, HM_SM90_FEW_SHARED, 0)                                                            \
    X(decode_few16_fp16, decode_few, HM_SM90_FEW_SHARED, 0)                                                            \
    X(decode_few32_bf16, decode_few, HM_SM90_FEW_SHARED, 0)                                                            \
    X(decode_few32_fp16, decode_few, HM_SM90_FEW_SHARED, 0)                                                            \
    X(decode_nope_few16_bf16, decode_few, HM_SM90_FEW_SHARED, 0)                                                       \
    X(decode_nope_few16_fp16, decode_few, HM_SM90_FEW_SHARED, 0)                                                       \
    X(decode_nope_few32_bf16, decode_few, HM_SM90_FEW_SHARED, 0)                                                       \
    X(decode_nope_few32_fp16, decode_few, HM_SM90_FEW_SHARED, 0)                                                       \
    X(gather, gather, 0, 0)                                                                                            \
    X(probe_fill, probe, 0, 0)                                                                                         \
    X(probe_read, probe, 0, 0)                                                                                         \
    X(probe_multiply, probe, HM_PROBE_MULTIPLY_SHARED, 0)                                                              \
    X(schedule, schedule, HM_SM90_SCHEDULE_SHARED, 0)

typedef enum hm_cubin {
#define HM_CUBIN_NUMBER(name) HM_CUBIN_##name,
    HM_CUBINS(HM_CUBIN_NUMBER)
#undef HM_CUBIN_NUMBER
    HM_CUBIN_COUNT
} hm_cubin;

typedef enum hm_kernel {
#define HM_KERNEL_NUMBER(name, cubin, shared_bytes, big_cluster) HM_KERNEL_##name,
    HM_KERNELS(HM_KERNEL_NUMBER)
#undef HM_KERNEL_NUMBER
    HM_KERNEL_COUNT
} hm_kernel;

#endif
