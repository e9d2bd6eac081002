#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Talks to the program of this folder: client.py [<address> [msgpack]]"""
import itertools
import json
import sys

import zmq

address = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5555"
encode, decode = lambda value: json.dumps(value).encode(), json.loads
if sys.argv[2:] == ["msgpack"]:
    import msgpack
    encode, decode = msgpack.packb, msgpack.unpackb

socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0
socket.connect(address)
ids = itertools.count(1)


def call(to, type, body={}, within_ms=5000):
    request_id = str(next(ids))
    socket.send(encode({"id": request_id, "to": to, "type": type, "body": body, "within_ms": within_ms}))
    while socket.poll(within_ms + 1000):
        reply = decode(socket.recv())
        if reply["id"] == request_id:  # any other is a late one
            return reply
    raise TimeoutError(f"no reply from {address}")


print(json.dumps(call("counter", "Add", {"amount": 2})["ok"]))
print(json.dumps(call("counter", "Add", {"amount": 40, "unit": "m"})["ok"]))
print(call("counter", "Total")["value"])
print(json.dumps(call("counter", "Statistics")["value"], separators=(",", ":"), sort_keys=True))
print(json.dumps(call("jobs", "Job", {"name": "dig", "times": 3})["ok"]))
print(json.dumps(call("jobs", "Job", {"name": "plant"})["ok"]))
wrong_ones = (("counter", "Add", {"amount": "many"}), ("counter", "Subtract", {}), ("nobody", "Add", {}),
              ("jobs", "Job", {"times": 2}))
for wrong in wrong_ones:
    error = call(*wrong)["error"]
    print(error["kind"], "-", error["text"])
