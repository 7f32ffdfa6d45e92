/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_HOPMLA_H
#define HOPMLA_HOPMLA_H

/** @file
 * hopmla: paged latent-KV pools and Multi-head Latent Attention decode. This header includes all others. */

#include "version.h"
#include "status.h"
#include "context.h"
#include "device.h"
#include "pool.h"
#include "plan.h"
#include "paged.h"
#include "profile.h"

#endif
