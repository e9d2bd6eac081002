// expect: troupe: this Ref's actor does not accept every message of the other's protocol
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Add {
  int amount = 0;
};
struct Remove {
  int amount = 0;
};
using Both = troupe::messages<Add, Remove>;
struct Counter {
  using accepts = troupe::messages<Add>;
  void on(const Add&) {}
};

troupe::Ref<Both> widen(const troupe::Ref<Counter>& counter) { return counter; }
