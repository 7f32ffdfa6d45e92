/* SPDX-License-Identifier: Apache-2.0 */

#include "kernels/sm90/launch.h"

static const char *const names[HM_KERNEL_COUNT] = {
#define NAME(name, cubin, shared_bytes, big_cluster) "launch of hm_" #name,
    HM_KERNELS(NAME)
#undef NAME
};

static unsigned at_least_one(uint32_t value)
{
    return value ? value : 1;
}

/** The driver's form of a launch; `attributes` has room for two. */
static hm_cu_launch_config configure(const hm_launch *launch, hopmla_stream stream, hm_cu_launch_attribute *attributes)
{
    hm_cu_launch_config config = {
        .grid_x = at_least_one(launch->grid[0]),
        .grid_y = at_least_one(launch->grid[1]),
        .grid_z = at_least_one(launch->grid[2]),
        .block_x = launch->threads,
        .block_y = 1,
        .block_z = 1,
        .shared_bytes = launch->shared_bytes,
        .stream = stream,
        .attributes = attributes,
    };
    if (launch->cluster[0] > 0 || launch->cluster[1] > 0) {
        hm_cu_launch_attribute *cluster = &attributes[config.attribute_count++];
        cluster->id = HM_CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        cluster->value.cluster.x = at_least_one(launch->cluster[0]);
        cluster->value.cluster.y = at_least_one(launch->cluster[1]);
        cluster->value.cluster.z = 1;
    }
    if (launch->programmatic) {
        hm_cu_launch_attribute *programmatic = &attributes[config.attribute_count++];
        programmatic->id = HM_CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        programmatic->value.programmatic = 1;
    }
    return config;
}

hopmla_status hm_sm90_clusters_at_once(hm_device *device, const hm_launch *launch, uint32_t *count, hopmla_error *error)
{
    hm_cu_launch_attribute attributes[2] = { 0 };
    const hm_cu_launch_config config = configure(launch, NULL, attributes);
    int clusters = 0;
    const hm_cu_result code = hm_cu.cuOccupancyMaxActiveClusters(&clusters, device->functions[launch->kernel], &config);
    *count = code == HM_CU_SUCCESS && clusters > 0 ? (uint32_t)clusters : 0;
    if (code == HM_CU_SUCCESS || hm_driver_fail(NULL, code, "") == HOPMLA_ERROR_DRIVER) {
        return HOPMLA_OK; /* that it does not know such clusters is an answer too */
    }
    return hm_driver_fail(error, code, "cuOccupancyMaxActiveClusters");
}

hopmla_status hm_sm90_launch(hm_device *device, const hm_launch *launch, void **parameters, hopmla_stream stream,
                             hopmla_error *error)
{
    hm_cu_launch_attribute attributes[2] = { 0 };
    const hm_cu_launch_config config = configure(launch, stream, attributes);
    const hm_cu_result code = hm_cu.cuLaunchKernelEx(&config, device->functions[launch->kernel], parameters, NULL);
    return code == HM_CU_SUCCESS ? HOPMLA_OK : hm_driver_fail(error, code, names[launch->kernel]);
}
