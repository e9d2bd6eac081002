// expect: troupe: this actor does not accept that message; add it to its `accepts` and write on(const M&)
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Add {
  int amount = 0;
};
struct Remove {
  int amount = 0;
};
struct Counter {
  using accepts = troupe::messages<Add>;
  void on(const Add&) {}
};

troupe::Sent take(const troupe::Ref<Counter>& counter) { return counter.send(Remove{1}); }
