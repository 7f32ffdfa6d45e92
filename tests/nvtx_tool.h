/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVTX_TOOL_H
#define NVTX_TOOL_H

/** @file
 * A tool that listens to NVTX, in the place of Nsight: the library opens it by NVTX_INJECTION64_PATH. A test that links
 * against it too reads from it what was pushed. The environment variable NVTX_TOOL says what it is like: "no-schema"
 * takes no payload schemas, as Nsight Compute; "disabled" does not listen to any domain. */

#include <pthread.h>
#include <stdint.h>

enum {
    NVTX_TOOL_RANGES = 64,
    NVTX_TOOL_COLUMNS = 16
};

typedef struct nvtx_tool_column {
    char name[32];
    uint64_t type;
    uint64_t offset;
} nvtx_tool_column;

/** A range, from its push on. */
typedef struct nvtx_tool_range {
    char domain[32];
    char name[32];
    char category[32];
    pthread_t thread;
    int depth; /* of the thread's open ranges, this one counted */
    int popped;
    uint64_t schema; /* 0: it has no payload */
    unsigned char payload[256];
    uint64_t payload_bytes;
} nvtx_tool_range;

typedef struct nvtx_tool_log {
    int attached;
    int domains; /* made */
    int strings;
    int schemas;
    char schema_name[32];
    nvtx_tool_column columns[NVTX_TOOL_COLUMNS];
    int n_columns;
    nvtx_tool_range ranges[NVTX_TOOL_RANGES];
    int n_ranges;
    int unbalanced; /* pops of nothing */
} nvtx_tool_log;

extern nvtx_tool_log nvtx_tool;

/** The unsigned value of a column of a range's payload; fails the process when there is no such column. */
uint64_t nvtx_tool_value(const nvtx_tool_range *range, const char *column);

#endif
