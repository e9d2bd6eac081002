// expect: troupe: this actor does not accept that message; add it to its `accepts` and write on(const M&)
// SPDX-License-Identifier: MIT
#include <troupe/troupe.hpp>

struct Total {
  using reply = int;
};
struct Average {
  using reply = double;
};
struct Counter {
  using accepts = troupe::messages<Total>;
  int on(const Total&) { return 0; }
};

double ask(const troupe::Ref<Counter>& counter) {
  return counter.ask(Average{}, std::chrono::seconds{1}).value();
}
