/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_SM90_DRIVER_H
#define HM_SM90_DRIVER_H

/** @file
 * The CUDA driver, declared by hand: the library is built without CUDA headers on the host side and links against
 * nothing of CUDA. hm_driver_load finds libcuda.so.1 at run time and fills the table hm_cu. Handles that the public
 * header forward declares keep its tags, so that callers' own CUDA types go through unchanged. */

#include <stddef.h>
#include <stdint.h>

#include "hopmla/hopmla.h"

typedef int hm_cu_result;
typedef int hm_cu_device;
typedef uint64_t hm_cu_address;
typedef struct CUctx_st *hm_cu_context;
typedef struct CUlib_st *hm_cu_library;
typedef struct CUkern_st *hm_cu_kernel;
typedef struct CUfunc_st *hm_cu_function;
typedef struct CUgraph_st *hm_cu_graph;

/** The codes that the library tells apart. */
enum {
    HM_CU_SUCCESS = 0,
    HM_CU_INVALID_VALUE = 1,
    HM_CU_OUT_OF_MEMORY = 2,
    HM_CU_NO_DEVICE = 100,
    HM_CU_INVALID_DEVICE = 101,
    HM_CU_INVALID_IMAGE = 200,
    HM_CU_INVALID_CONTEXT = 201,
    HM_CU_NO_BINARY_FOR_GPU = 209,
    HM_CU_ECC_UNCORRECTABLE = 214,
    HM_CU_NVLINK_UNCORRECTABLE = 220,
    HM_CU_UNSUPPORTED_PTX_VERSION = 222,
    HM_CU_CONTAINED = 226,
    HM_CU_INVALID_SOURCE = 300,
    HM_CU_INVALID_HANDLE = 400,
    HM_CU_ILLEGAL_STATE = 401,
    HM_CU_NOT_FOUND = 500,
    HM_CU_NOT_READY = 600,
    HM_CU_ILLEGAL_ADDRESS = 700,
    HM_CU_LAUNCH_TIMEOUT = 702,
    HM_CU_CONTEXT_IS_DESTROYED = 709,
    HM_CU_ASSERT = 710,
    HM_CU_HARDWARE_STACK_ERROR = 714,
    HM_CU_ILLEGAL_INSTRUCTION = 715,
    HM_CU_MISALIGNED_ADDRESS = 716,
    HM_CU_INVALID_ADDRESS_SPACE = 717,
    HM_CU_INVALID_PC = 718,
    HM_CU_LAUNCH_FAILED = 719,
    HM_CU_STREAM_CAPTURE_UNSUPPORTED = 900,
    HM_CU_STREAM_CAPTURE_INVALIDATED = 901,
    HM_CU_STREAM_CAPTURE_IMPLICIT = 906,
    HM_CU_STREAM_CAPTURE_WRONG_THREAD = 908
};

/** Arguments of the calls below, named as in the driver's documentation. */
enum {
    HM_CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    HM_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38,
    HM_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    HM_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    HM_CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
    HM_CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3,
    HM_CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
    HM_CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED = 14,
    HM_CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,
    HM_CU_POINTER_ATTRIBUTE_RANGE_START_ADDR = 11,
    HM_CU_LIBRARY_BINARY_IS_PRESERVED = 1,
    HM_CU_MEMHOSTALLOC_PORTABLE = 1,
    HM_CU_MEMHOSTALLOC_DEVICEMAP = 2,
    HM_CU_STREAM_NON_BLOCKING = 1,
    HM_CU_STREAM_CAPTURE_MODE_RELAXED = 2,
    HM_CU_STREAM_CAPTURE_STATUS_NONE = 0,
    HM_CU_STREAM_WAIT_VALUE_GEQ = 0,
    HM_CU_EVENT_DEFAULT = 0,
    HM_CU_EVENT_WAIT_DEFAULT = 0,
    HM_CU_EVENT_WAIT_EXTERNAL = 1,
    HM_CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION = 4,
    HM_CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6,
    HM_CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6,
    HM_CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9,
    HM_CU_TENSOR_MAP_INTERLEAVE_NONE = 0,
    HM_CU_TENSOR_MAP_SWIZZLE_128B = 3,
    HM_CU_TENSOR_MAP_L2_PROMOTION_L2_128B = 2,
    HM_CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0
};

/** CUtensorMap: 128 opaque bytes, encoded by cuTensorMapEncodeTiled, passed to kernels by value. */
typedef struct hm_tensor_map {
    _Alignas(64) unsigned char opaque[128];
} hm_tensor_map;

/** CUlaunchAttribute */
typedef struct hm_cu_launch_attribute {
    int id;
    int padding;
    union {
        char bytes[64];
        struct {
            unsigned x, y, z;
        } cluster;
        int programmatic;
    } value;
} hm_cu_launch_attribute;

/** CUlaunchConfig */
typedef struct hm_cu_launch_config {
    unsigned grid_x, grid_y, grid_z;
    unsigned block_x, block_y, block_z;
    unsigned shared_bytes;
    struct CUstream_st *stream;
    hm_cu_launch_attribute *attributes;
    unsigned attribute_count;
} hm_cu_launch_config;

_Static_assert(sizeof(hm_tensor_map) == 128, "CUtensorMap");
_Static_assert(sizeof(hm_cu_launch_attribute) == 72, "CUlaunchAttribute");
_Static_assert(sizeof(hm_cu_launch_config) == 56, "CUlaunchConfig");

/** Every entry point in use: X(name, version, required, arguments). The version asks cuGetProcAddress for the signature
 * that stands here, since a newer one may hide behind the same name (at 13000 cuCtxSynchronize takes a context, and
 * cuGraphInstantiate is the old form with five arguments). An entry that is not required may be NULL. */
#define HM_CU_FUNCTIONS(X)                                                                                             \
    X(cuInit, 2000, 1, (unsigned flags))                                                                               \
    X(cuDriverGetVersion, 2020, 1, (int *version))                                                                     \
    X(cuGetErrorName, 6000, 1, (hm_cu_result code, const char **name))                                                 \
    X(cuDeviceGet, 2000, 1, (hm_cu_device * device, int ordinal))                                                      \
    X(cuDeviceGetName, 2000, 1, (char *name, int size, hm_cu_device device))                                           \
    X(cuDeviceGetAttribute, 2000, 1, (int *value, int attribute, hm_cu_device device))                                 \
    X(cuDeviceTotalMem, 3020, 1, (size_t * bytes, hm_cu_device device))                                                \
    X(cuDevicePrimaryCtxRetain, 7000, 1, (hm_cu_context * context, hm_cu_device device))                               \
    X(cuDevicePrimaryCtxRelease, 11000, 1, (hm_cu_device device))                                                      \
    X(cuCtxPushCurrent, 4000, 1, (hm_cu_context context))                                                              \
    X(cuCtxPopCurrent, 4000, 1, (hm_cu_context * context))                                                             \
    X(cuCtxGetDevice, 2000, 1, (hm_cu_device * device))                                                                \
    X(cuCtxSynchronize, 2000, 1, (void))                                                                               \
    X(cuLibraryLoadData, 12000, 1,                                                                                     \
      (hm_cu_library * library, const void *code, int *jit_options, void **jit_values, unsigned jit_count,             \
       int *options, void **values, unsigned count))                                                                   \
    X(cuLibraryUnload, 12000, 1, (hm_cu_library library))                                                              \
    X(cuLibraryGetKernel, 12000, 1, (hm_cu_kernel * kernel, hm_cu_library library, const char *name))                  \
    X(cuKernelGetFunction, 12000, 1, (hm_cu_function * function, hm_cu_kernel kernel))                                 \
    X(cuFuncSetAttribute, 9000, 1, (hm_cu_function function, int attribute, int value))                                \
    X(cuFuncGetAttribute, 2020, 1, (int *value, int attribute, hm_cu_function function))                               \
    X(cuFuncLoad, 12040, 0, (hm_cu_function function))                                                                 \
    X(cuOccupancyMaxActiveClusters, 11070, 1,                                                                          \
      (int *clusters, hm_cu_function function, const hm_cu_launch_config *config))                                     \
    X(cuLaunchKernelEx, 11060, 1,                                                                                      \
      (const hm_cu_launch_config *config, hm_cu_function function, void **parameters, void **extra))                   \
    X(cuTensorMapEncodeTiled, 12000, 1,                                                                                \
      (hm_tensor_map * map, int type, uint32_t rank, void *address, const uint64_t *sizes, const uint64_t *strides,    \
       const uint32_t *box, const uint32_t *element_strides, int interleave, int swizzle, int l2_promotion, int fill)) \
    X(cuMemAlloc, 3020, 1, (hm_cu_address * address, size_t bytes))                                                    \
    X(cuMemFree, 3020, 1, (hm_cu_address address))                                                                     \
    X(cuMemHostAlloc, 2020, 1, (void **address, size_t bytes, unsigned flags))                                         \
    X(cuMemFreeHost, 2000, 1, (void *address))                                                                         \
    X(cuMemcpyAsync, 4000, 1,                                                                                          \
      (hm_cu_address destination, hm_cu_address source, size_t bytes, struct CUstream_st * stream))                    \
    X(cuMemsetD8Async, 3020, 1,                                                                                        \
      (hm_cu_address destination, unsigned char value, size_t bytes, struct CUstream_st *stream))                      \
    X(cuPointerGetAttributes, 7000, 1, (unsigned count, int *attributes, void **values, hm_cu_address address))        \
    X(cuStreamCreate, 2000, 1, (struct CUstream_st * *stream, unsigned flags))                                         \
    X(cuStreamDestroy, 4000, 1, (struct CUstream_st * stream))                                                         \
    X(cuStreamSynchronize, 2000, 1, (struct CUstream_st * stream))                                                     \
    X(cuStreamWaitEvent, 3020, 1, (struct CUstream_st * stream, struct CUevent_st * event, unsigned flags))            \
    X(cuStreamGetCtx, 9020, 1, (struct CUstream_st * stream, hm_cu_context * context))                                 \
    X(cuStreamIsCapturing, 10000, 1, (struct CUstream_st * stream, int *status))                                       \
    X(cuStreamBeginCapture, 10010, 1, (struct CUstream_st * stream, int mode))                                         \
    X(cuStreamEndCapture, 10000, 1, (struct CUstream_st * stream, hm_cu_graph * graph))                                \
    X(cuStreamWriteValue64, 11070, 1,                                                                                  \
      (struct CUstream_st * stream, hm_cu_address address, uint64_t value, unsigned flags))                            \
    X(cuStreamWaitValue64, 11070, 1,                                                                                   \
      (struct CUstream_st * stream, hm_cu_address address, uint64_t value, unsigned flags))                            \
    X(cuEventCreate, 2000, 1, (struct CUevent_st * *event, unsigned flags))                                            \
    X(cuEventDestroy, 4000, 1, (struct CUevent_st * event))                                                            \
    X(cuEventRecord, 2000, 1, (struct CUevent_st * event, struct CUstream_st * stream))                                \
    X(cuThreadExchangeStreamCaptureMode, 10010, 1, (int *mode))                                                        \
    X(cuEventQuery, 2000, 1, (struct CUevent_st * event))                                                              \
    X(cuEventSynchronize, 2000, 1, (struct CUevent_st * event))                                                        \
    X(cuEventElapsedTime, 2000, 1, (float *milliseconds, struct CUevent_st *begin, struct CUevent_st *end))            \
    X(cuGraphInstantiateWithFlags, 11040, 1,                                                                           \
      (struct CUgraphExec_st * *exec, hm_cu_graph graph, unsigned long long flags))                                    \
    X(cuGraphDestroy, 10000, 1, (hm_cu_graph graph))                                                                   \
    X(cuGraphLaunch, 10000, 1, (struct CUgraphExec_st * exec, struct CUstream_st * stream))                            \
    X(cuGraphExecDestroy, 10000, 1, (struct CUgraphExec_st * exec))

/** The driver's functions under their own names: hm_cu.cuMemAlloc(…). */
typedef struct hm_driver {
#define HM_CU_FIELD(name, version, required, arguments) hm_cu_result(*name) arguments;
    HM_CU_FUNCTIONS(HM_CU_FIELD)
#undef HM_CU_FIELD
    int version; /* CUDA version of the driver, for example 13000 */
} hm_driver;

/** Filled once by hm_driver_load and constant from then on; every hm_device exists after that. */
extern hm_driver hm_cu;

/** Finds and starts the driver: libcuda.so.1, or the file that the environment variable HOPMLA_LIBCUDA names. Once it
 * has succeeded it stays loaded for the life of the process; after a failure a later call tries again.
 *
 * Thread-safe. @return OK, NO_DRIVER, OLD_DRIVER, NO_DEVICE. */
hopmla_status hm_driver_load(hopmla_error *error);

/** Turns a driver's code into a status and fills the error: DRIVER_STICKY where the context is lost, OUT_OF_DEVICE_MEMORY,
 * CAPTURE, else DRIVER. @param call  what was being done, for the message */
hopmla_status hm_driver_fail(hopmla_error *error, hm_cu_result code, const char *call);

/** Returns from the enclosing function when the driver's call fails. */
#define HM_CU_TRY(error, name, ...)                                                                                    \
    do {                                                                                                               \
        hm_cu_result hm_cu_code = hm_cu.name(__VA_ARGS__);                                                             \
        if (hm_cu_code != HM_CU_SUCCESS) {                                                                             \
            return hm_driver_fail(error, hm_cu_code, #name);                                                           \
        }                                                                                                              \
    } while (0)

#endif
