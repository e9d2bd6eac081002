// expect: troupe: `accepts` names a message for which this actor has no on(const M&)
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Add {
  int amount = 0;
};
struct Remove {
  int amount = 0;
};
struct Counter {
  using accepts = troupe::messages<Add, Remove>;
  void on(const Add&) {}
};

void start(troupe::Node& node) { node.spawn<Counter>("counter").value(); }
