#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What Python's multiprocessing does: python_peer.py <measurement> <bytes> <count> [<senders> <receivers>]

Prints one figure: messages a second, or the median nanoseconds of a round trip.
"""
import multiprocessing as mp
import statistics
import sys
import time


def queue_put(ready, queue, payload, count):
    ready.wait()
    for _ in range(count):
        queue.put(payload)


def queue_get(ready, queue, taken):
    """Counts until a None ends it, which comes behind everything else; and when the first and last one came."""
    count, first, last = 0, float("inf"), 0.0
    ready.wait()
    while queue.get() is not None:
        last = time.monotonic()
        first, count = min(first, last), count + 1
    taken.put((count, first, last))


def queue(size, count, senders=1, receivers=1):
    """From the first item taken to the last; nobody puts before all processes are there."""
    payload, each = bytes(size), count // senders
    channel, taken, ready = mp.Queue(), mp.Queue(), mp.Barrier(senders + receivers)
    consumers = [mp.Process(target=queue_get, args=(ready, channel, taken)) for _ in range(receivers)]
    producers = [mp.Process(target=queue_put, args=(ready, channel, payload, each)) for _ in range(senders)]
    for process in consumers + producers:
        process.start()
    for process in producers:
        process.join()
    for _ in consumers:
        channel.put(None)
    counts, firsts, lasts = zip(*(taken.get() for _ in consumers))
    for process in consumers:
        process.join()
    assert sum(counts) == each * senders
    return sum(counts) / (max(lasts) - min(firsts))


def pipe_get(end, count):
    for _ in range(count):
        end.recv()
    end.send(None)


def pipe(size, count):
    here, there = mp.Pipe()
    peer = mp.Process(target=pipe_get, args=(there, count))
    peer.start()
    payload = bytes(size)
    before = time.monotonic()
    for _ in range(count):
        here.send(payload)
    here.recv()
    taken_for = time.monotonic() - before
    peer.join()
    return count / taken_for


def echo(receive, send, rounds):
    for _ in range(rounds):
        send(receive())


def median_round(send, receive, payload, rounds):
    times = []
    for _ in range(rounds):
        before = time.monotonic_ns()
        send(payload)
        receive()
        times.append(time.monotonic_ns() - before)
    return statistics.median(times)


def pipe_round_trip(size, rounds):
    here, there = mp.Pipe()
    peer = mp.Process(target=echo, args=(there.recv, there.send, rounds))
    peer.start()
    median = median_round(here.send, here.recv, bytes(size), rounds)
    peer.join()
    return median


def queue_round_trip(size, rounds):
    there, back = mp.Queue(), mp.Queue()
    peer = mp.Process(target=echo, args=(there.get, back.put, rounds))
    peer.start()
    median = median_round(there.put, back.get, bytes(size), rounds)
    peer.join()
    return median


if __name__ == "__main__":
    measure = {f.__name__: f for f in (queue, pipe, queue_round_trip, pipe_round_trip)}[sys.argv[1]]
    print(measure(*map(int, sys.argv[2:])))
