#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a command where a GPU of compute capability 9.0 is; elsewhere exit status 77, which counts as skipped:
# on_gpu.sh COMMAND…
nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -q '^9\.0' || exit 77
exec "$@"
