// expect: troupe: `accepts` names a message for which this actor has no on(const M&)
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Base {
  int amount = 0;
};
struct Add : Base {
  template <class Archive>
  void serialize(Archive& archive) {
    archive(amount);
  }
};
struct Counter {
  using accepts = troupe::messages<Add>;
  void on(const Base&) {}
};

void start(troupe::Node& node) { node.spawn<Counter>("counter").value(); }
