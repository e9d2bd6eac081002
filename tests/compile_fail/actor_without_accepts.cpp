// expect: troupe: an actor says what it accepts: using accepts = troupe::messages<…>;
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Add {
  int amount = 0;
};
struct Counter {
  void on(const Add&) {}
};

void start(troupe::Node& node) { node.spawn<Counter>("counter").value(); }
