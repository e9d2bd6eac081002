// expect: troupe: this type cannot travel between processes
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Add {
  int* amount = nullptr;
};
struct Counter {
  using accepts = troupe::messages<Add>;
  void on(const Add&) {}
};

void start(troupe::Node& node) { node.spawn<Counter>("counter").value(); }
