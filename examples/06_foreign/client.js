#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// Talks to the program of this folder: client.js [<address>]
const { Dealer } = require("zeromq");

const address = process.argv[2] ?? "tcp://127.0.0.1:5555";
const socket = new Dealer({ linger: 0 });
socket.connect(address);
let lastId = 0;

async function call(to, type, body = {}, within_ms = 5000) {
  const id = String(++lastId);
  await socket.send(JSON.stringify({ id, to, type, body, within_ms }));
  socket.receiveTimeout = within_ms + 1000; // then receive() throws
  for (;;) {
    const [frame] = await socket.receive();
    const reply = JSON.parse(frame.toString());
    if (reply.id === id) return reply; // any other is a late one
  }
}

async function main() {
  console.log((await call("counter", "Add", { amount: 2 })).ok);
  console.log((await call("counter", "Add", { amount: 40, unit: "m" })).ok);
  console.log((await call("counter", "Total")).value);
  console.log(JSON.stringify((await call("counter", "Statistics")).value));
  console.log((await call("jobs", "Job", { name: "dig", times: 3 })).ok);
  console.log((await call("jobs", "Job", { name: "plant" })).ok);
  const wrong = [["counter", "Add", { amount: "many" }], ["counter", "Subtract"], ["nobody", "Add"],
    ["jobs", "Job", { times: 2 }]];
  for (const request of wrong) {
    const { error } = await call(...request);
    console.log(error.kind, "-", error.text);
  }
}
main().finally(() => socket.close());
