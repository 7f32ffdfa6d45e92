#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The CPU backend's decode against NumPy on the same cores: per request S = q Kᵀ · scale, softmax, O = P V in float32,
with the keys gathered and converted beforehand (hopmla reads bfloat16 pages). Both take turns, so that other load on the
machine meets both; the best time of each counts.

    bench_numpy.py libhopmla.so [--repeats N] [--check]

With --check the exit status is 1 when hopmla is the slower one. Needs NumPy, else 77."""

import argparse
import ctypes
import os
import sys
import time

try:
    import numpy as np
except ImportError:
    print("NumPy is not installed: skipped")
    sys.exit(77)

SCALE = 576 ** -0.5
SHAPES = [(4, 4096, 16), (4, 4096, 128), (1, 4096, 16), (1, 32768, 16)]
U32, I32, U64, I64, F32 = ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_float


class ContextOptions(ctypes.Structure):
    _fields_ = [("struct_size", U32), ("backend", I32), ("device", I32), ("cpu_threads", I32), ("cpu_isa", I32),
                ("log_level", I32), ("cu_context", ctypes.c_void_p), ("log", ctypes.c_void_p),
                ("log_user", ctypes.c_void_p), ("alloc", ctypes.c_void_p), ("free", ctypes.c_void_p),
                ("alloc_user", ctypes.c_void_p)]


class PagedDesc(ctypes.Structure):
    _fields_ = [("struct_size", U32), ("format", I32), ("batch", U32), ("max_q_tokens", U32), ("max_kv_tokens", U64),
                ("heads", U32), ("lse", I32), ("max_units", U32), ("page_tokens", U32), ("pages", U64),
                ("table_stride", U64), ("latent_page_stride", U64), ("latent_row_stride", U64),
                ("rope_page_stride", U64), ("rope_row_stride", U64)]


class DecodeArgs(ctypes.Structure):
    _fields_ = [("struct_size", U32), ("layer", U32), ("rows", U32), ("softmax_scale", F32)] + [
        (name, I64) for name in ("q_token_stride", "q_head_stride", "qr_token_stride", "qr_head_stride",
                                 "out_token_stride", "out_head_stride", "lse_token_stride", "lse_head_stride")]


def to_bf16(values):
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(values):
    return (values.astype(np.uint32) << 16).view(np.float32)


def aligned(count, dtype, alignment=1024):
    """An array of zeros at a multiple of `alignment` bytes."""
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start:start + size].view(dtype)


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


def call(function, *args):
    status = function(*args)
    if status:
        sys.exit(f"{function.__name__}: status {status}")


class Decode:
    """One shape: random pages, and the two ways to decode them."""

    def __init__(self, library, context, batch, length, heads):
        self.library, self.context, self.length = library, context, length
        random = np.random.default_rng(1)
        pages = batch * length // 64
        self.pool = aligned(pages * 64 * 576, np.uint16)
        values = np.clip(random.standard_normal(self.pool.size, np.float32) / 10, -1, 1)
        self.pool[:] = to_bf16(values)
        self.table = random.permutation(pages).astype(np.int32).reshape(batch, -1)
        self.q = aligned(batch * heads * 576, np.uint16)
        self.q[:] = to_bf16(random.standard_normal(self.q.size, np.float32) / 10)
        self.out = aligned(batch * heads * 512, np.uint16)
        self.kv_lens = np.full(batch, length, np.int32)
        self.desc = PagedDesc(ctypes.sizeof(PagedDesc), 1, batch, 1, length, heads, 0, 0, 64, pages, length // 64)
        self.args = DecodeArgs(ctypes.sizeof(DecodeArgs), 0, batch, SCALE)
        size = U64()
        call(library.hopmla_decode_paged_workspace, context, ctypes.byref(self.desc), ctypes.byref(size), None)
        self.workspace = aligned(size.value, np.uint8)
        call(library.hopmla_decode_paged_prepare, context, ctypes.byref(self.desc), address(self.kv_lens), None,
             address(self.workspace), size, None, None)
        rows = from_bf16(self.pool).reshape(pages, 64, 576)
        self.keys = [np.ascontiguousarray(rows[row].reshape(length, 576)) for row in self.table]
        self.queries = from_bf16(self.q).reshape(batch, heads, 576)

    def hopmla(self):
        call(self.library.hopmla_decode_paged, self.context, ctypes.byref(self.desc), ctypes.byref(self.args),
             address(self.pool), None, address(self.table), address(self.q), None, address(self.out), None,
             address(self.workspace), U64(self.workspace.size), None, None)

    def numpy(self):
        outputs = []
        for query, keys in zip(self.queries, self.keys):
            scores = query @ keys.T * np.float32(SCALE)
            scores -= scores.max(axis=1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=1, keepdims=True)
            outputs.append(scores @ keys[:, :512])
        return outputs


def clock(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def turns(decode, repeats):
    """Times of both, in seconds."""
    ours, theirs = [], []
    while len(ours) < repeats:
        time.sleep(0.3)  # OpenBLAS's threads keep a core busy for more than 100 ms after a call
        ours += [clock(decode.hopmla) for _ in range(5)]
        theirs += [clock(decode.numpy) for _ in range(5)]
    return ours, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()

    library = ctypes.CDLL(os.path.abspath(options.library))
    for name in ("hopmla_decode_paged_workspace", "hopmla_decode_paged_prepare", "hopmla_decode_paged"):
        getattr(library, name).restype = I32
    context = ctypes.c_void_p()
    threads = len(os.sched_getaffinity(0))
    call(library.hopmla_context_create, ctypes.byref(ContextOptions(ctypes.sizeof(ContextOptions), 1, 0, threads)),
         ctypes.byref(context), None)

    print(f"{threads} cores, NumPy {np.__version__}; best, then median\n")
    print(f"{'shape':20} {'hopmla ms':>9} {'NumPy ms':>9} {'ratio':>6}")
    slower = False
    for batch, length, heads in SHAPES:
        decode = Decode(library, context, batch, length, heads)
        decode.hopmla()
        expected = np.concatenate([out.reshape(-1) for out in decode.numpy()])
        if not np.allclose(from_bf16(decode.out), expected, atol=8e-4, rtol=2.01 / 128):
            sys.exit("the two disagree")
        times = turns(decode, options.repeats)
        for name, pick in (("", min), ("  median", lambda column: sorted(column)[len(column) // 2])):
            ours, theirs = (pick(column) * 1e3 for column in times)
            label = name or f"b={batch} L={length} h={heads}"
            print(f"{label:20} {ours:9.3f} {theirs:9.3f} {theirs / ours:6.2f}")
            slower |= not name and ours > theirs
    library.hopmla_context_destroy(context)
    return 1 if slower and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
