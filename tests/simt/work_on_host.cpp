/* SPDX-License-Identifier: Apache-2.0 */
#include "simt.h"

#define __shared__ static
#include "kernels/sm90/tile_work.cuh"

#include "on_host.h"

std::vector<Visit> work_on_host(const hm_sm90_decode_params &params)
{
    std::vector<Visit> visits;
    simt_thread cta{};
    simt_now = &cta;
    for (cta.block.y = 0; int(cta.block.y) < params.shape.groups; cta.block.y++) {
        for (cta.block.x = 0; int(cta.block.x) < params.shape.tile_stride; cta.block.x++) {
            const hm_sm90_group &group = params.workspace.groups[cta.block.y];
            const EarlyPage early(group.start, params);
            bool first = true;
            for (WorkIterator work(first_row(group.start)); work.next(group, params); first = false) {
                const Segment &segment = work.segment();
                visits.push_back({ segment.request, segment.page_begin, work.row, group.start.rows,
                                   own_partial_row(params, group.start.group, segment, work.row),
                                   first && early.known ? early.page : -1 });
            }
        }
    }
    return visits;
}
