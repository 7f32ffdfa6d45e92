/* SPDX-License-Identifier: Apache-2.0 */
#include "simt.h"

#include <cstdio>
#include <memory>
#include <ucontext.h>
#include <vector>

simt_thread *simt_now;
bool simt_waited;
alignas(1024) unsigned char shared_bytes[256 * 1024];

namespace
{
constexpr size_t kStack = 128 * 1024;

enum class Wait {
    nobody,
    warp,
    cta
};

struct Fiber {
    simt_thread thread;
    ucontext_t context;
    std::unique_ptr<unsigned char[]> stack{ new unsigned char[kStack] };
    Wait wait;
    bool done;
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<simt_warp> warps;
unsigned running, count; /* fibers: the one that runs, and how many there are */
ucontext_t scheduler;
void (*entry)(void *);
void *entry_user;

void start()
{
    entry(entry_user);
    simt_exit();
}

void meet(Wait wait)
{
    Fiber &fiber = *fibers[running];
    fiber.wait = wait;
    swapcontext(&fiber.context, &scheduler);
}

/* Lets those go on of [first, end) who all wait for the same; true if there are any. */
bool release(unsigned first, unsigned end, Wait wait)
{
    bool any = false;
    for (unsigned i = first; i < end; i++) {
        if (!fibers[i]->done && fibers[i]->wait != wait) {
            return false;
        }
        any |= !fibers[i]->done;
    }
    for (unsigned i = first; i < end; i++) {
        fibers[i]->wait = Wait::nobody;
    }
    return any;
}

void begin(unsigned i, unsigned block, unsigned grid)
{
    Fiber &fiber = *fibers[i];
    fiber.thread = { { i }, { block }, { grid }, 0 };
    fiber.wait = Wait::nobody;
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, start, 0);
}

void run_cta(unsigned block, unsigned grid)
{
    warps.assign((count + 31) / 32, {});
    for (unsigned i = 0; i < count; i++) {
        begin(i, block, grid);
    }
    for (bool more = true; more;) {
        for (running = 0; running < count; running++) {
            Fiber &fiber = *fibers[running];
            if (!fiber.done && fiber.wait == Wait::nobody) {
                simt_now = &fiber.thread;
                swapcontext(&scheduler, &fiber.context);
            }
        }
        more = false;
        bool left = false;
        for (unsigned first = 0; first < count; first += 32) {
            more |= release(first, first + 32 < count ? first + 32 : count, Wait::warp);
        }
        more |= release(0, count, Wait::cta);
        for (unsigned i = 0; i < count; i++) {
            left |= !fibers[i]->done;
        }
        if (left && !more) {
            std::fprintf(stderr, "simt: threads of CTA %u wait for each other in vain\n", block);
            std::exit(1);
        }
    }
}
}  // namespace

simt_warp &simt_own_warp()
{
    return warps[running / 32];
}

void simt_exit()
{
    fibers[running]->done = true;
    swapcontext(&fibers[running]->context, &scheduler);
    std::abort(); /* nobody comes back to it */
}

void simt_meet_warp()
{
    meet(Wait::warp);
}

void simt_meet_cta()
{
    meet(Wait::cta);
}

void simt_run(unsigned grid, unsigned threads, void (*kernel)(void *), void *user)
{
    while (fibers.size() < threads) {
        fibers.push_back(std::make_unique<Fiber>());
    }
    count = threads;
    entry = kernel;
    entry_user = user;
    for (unsigned block = 0; block < grid; block++) {
        run_cta(block, grid);
    }
}
