#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden vectors for the absorption recipe of include/GUIDE.md.

One decode step of Multi-head Latent Attention as a DeepSeek-V2/V3 checkpoint defines it, WITHOUT absorption: keys and
values of every head are expanded from the latent, in float64. tests/test_absorption.c takes the absorbed way through
the library, from the same weights, and must arrive at the same numbers.

    tests/absorption.py > tests/data/absorption.txt     make the file
    tests/absorption.py --check                         compare it with a fresh computation

Weights and activations come from splitmix64, so that the C side can make the same ones without reading them.
"""
import math
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit(77)  # reported as skipped

HEADS, TOKENS, NOPE, ROPE, LATENT, VALUE = 4, 70, 128, 64, 512, 128
THETA = 10000.0
# YaRN factors of DeepSeek-V3: rope_factor 40, mscale 1; the square multiplies the scale of the query-key dimension.
MSCALE = 0.1 * 1.0 * math.log(40.0) + 1.0
SCALE = (NOPE + ROPE) ** -0.5 * MSCALE * MSCALE


def uniform(seed, *shape):
    """Values in [-1, 1) from splitmix64, in C order."""
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0).reshape(shape)


def bf16(x):
    """Rounds to bfloat16, nearest even."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def rotate(x, positions):
    """Rotary embedding over neighbouring pairs (x0, x1), as the checkpoint's own order has them."""
    angle = positions[:, None] * THETA ** (-np.arange(0, ROPE, 2) / ROPE)[None, :]
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.empty_like(x)
    out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
    return out


def attention():
    latent = bf16(uniform(1, TOKENS, LATENT))  # after kv_a_layernorm: this is what the cache holds
    k_rope = bf16(rotate(uniform(2, TOKENS, ROPE), np.arange(TOKENS, dtype=np.float64)))
    w_uk = uniform(3, HEADS, NOPE, LATENT) * 0.375
    w_uv = uniform(4, HEADS, VALUE, LATENT) * 0.125
    q_nope = uniform(5, HEADS, NOPE)
    q_rope = rotate(uniform(6, HEADS, ROPE), np.full(HEADS, TOKENS - 1.0))
    for h in range(HEADS):
        keys = np.concatenate([latent @ w_uk[h].T, k_rope], axis=1)       # [TOKENS, 192]
        values = latent @ w_uv[h].T                                       # [TOKENS, 128]
        scores = keys @ np.concatenate([q_nope[h], q_rope[h]]) * SCALE
        top = scores.max()
        weights = np.exp(scores - top)
        yield top + math.log(weights.sum()), weights @ values / weights.sum()


def lines():
    yield f"# heads {HEADS} tokens {TOKENS} scale {SCALE:.17g}; per head: lse, then {VALUE} output values"
    for lse, out in attention():
        yield f"{lse:.9g}"
        yield " ".join(f"{x:.9g}" for x in out)


def main():
    if sys.argv[1:] == ["--check"]:
        golden = (pathlib.Path(__file__).parent / "data" / "absorption.txt").read_text().split("\n")
        for number, (have, want) in enumerate(zip(golden, lines()), 1):
            if number > 1 and not np.allclose([float(x) for x in have.split()], [float(x) for x in want.split()],
                                              rtol=1e-7, atol=1e-7):
                sys.exit(f"tests/data/absorption.txt:{number} differs from a fresh computation")
        return
    print("\n".join(lines()))


main()
