#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a request trace with the statistics of a chat service, scaled down: generate.py > chat.jsonl

README.md says whose statistics. Everything comes from random.Random(seed).random() and the four basic operations, so
the same arguments give the same bytes with every Python on every machine."""

import argparse
import bisect
import json
import random
import sys

BLOCK = 512  # tokens of a hash id

# Quantiles: (share of requests, value). Between them the distribution is linear.
INPUT = [(0.0, 13), (0.1, 30), (0.25, 277), (0.4, 4365), (0.5, 11587), (0.6, 16289), (0.75, 23175), (0.9, 38615),
         (0.97, 54834), (0.99, 66458), (1.0, 191378)]
OUTPUT = [(0.0, 1), (0.1, 4), (0.25, 11), (0.4, 32), (0.5, 69), (0.6, 126), (0.75, 250), (0.9, 389), (0.97, 612),
          (1.0, 893)]
# Of the exponential distribution with mean 1: what lies between the arrivals of a Poisson process.
GAP = [(0.0, 0.0), (0.1, 0.105), (0.25, 0.288), (0.5, 0.693), (0.75, 1.386), (0.9, 2.303), (0.97, 3.507), (1.0, 5.5)]

REQUESTS_PER_MS = 3993 / 1022025
FOLLOW_UP = 0.88  # of the requests continue a conversation where one fits
AGAIN = 0.08      # ask the same once more
THINKING_MS = 2000


def draw(rng, quantiles):
    share = rng.random()
    right = bisect.bisect_right(quantiles, (share, float("inf")))
    (x0, y0), (x1, y1) = quantiles[right - 1], quantiles[min(right, len(quantiles) - 1)]
    return y0 if x1 == x0 else y0 + (y1 - y0) * (share - x0) / (x1 - x0)


def generate(seed, count, scale):
    rng = random.Random(seed)
    conversations = []  # the last request of each
    next_id, clock = 0, 0.0
    for _ in range(count):
        timestamp = int(clock)
        clock += draw(rng, GAP) / REQUESTS_PER_MS
        length = max(2, int(draw(rng, INPUT) / scale))
        output = max(1, int(draw(rng, OUTPUT) * 2 / (scale + 1)))
        kind = rng.random()
        ready = [i for i, last in enumerate(conversations) if last["timestamp"] + THINKING_MS <= timestamp]
        grown = [i for i in ready if conversations[i]["input_length"] < length]
        pick = rng.random()
        if kind < AGAIN and ready:
            index = ready[int(pick * len(ready))]
            length, ids = conversations[index]["input_length"], list(conversations[index]["hash_ids"])
        elif kind < AGAIN + FOLLOW_UP and grown:
            index = grown[int(pick * len(grown))]
            ids = conversations[index]["hash_ids"][:conversations[index]["input_length"] // BLOCK]
        else:
            index = len(conversations)
            conversations.append(None)
            ids = []
        while len(ids) * BLOCK < length:
            ids.append(next_id)
            next_id += 1
        request = {"timestamp": timestamp, "input_length": length, "output_length": output, "hash_ids": ids}
        conversations[index] = request
        yield request


def statistics(requests):
    seen, cached, blocks = set(), 0, 0
    for request in requests:
        cached += sum(i in seen for i in request["hash_ids"])
        blocks += len(request["hash_ids"])
        seen.update(request["hash_ids"])
    count = len(requests)
    return (f"{count} requests in {requests[-1]['timestamp'] / 1000:.1f} s, "
            f"mean input {sum(r['input_length'] for r in requests) / count:.0f} "
            f"(longest {max(r['input_length'] for r in requests)}), "
            f"mean output {sum(r['output_length'] for r in requests) / count:.0f}, "
            f"{100 * cached / blocks:.0f}% of the blocks seen before")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--scale", type=int, default=8, help="divides input lengths, half of it output lengths (8)")
    parser.add_argument("--statistics", action="store_true", help="print what came out instead of the trace")
    arguments = parser.parse_args()
    requests = list(generate(arguments.seed, arguments.requests, arguments.scale))
    if arguments.statistics:
        print(statistics(requests))
        return
    for request in requests:
        sys.stdout.write(json.dumps(request) + "\n")


if __name__ == "__main__":
    main()
