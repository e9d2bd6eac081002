// expect: troupe: `accepts` names a message for which this actor has no on(const M&)
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Add {
  int amount = 0;
};
struct Number {
  Number(const Add& add) : value{add.amount} {}
  int value;
};
struct Counter {
  using accepts = troupe::messages<Add>;
  void on(const Number&) {}
};

void start(troupe::Node& node) { node.spawn<Counter>("counter").value(); }
