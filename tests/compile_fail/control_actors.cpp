// What must compile, beside what must not: a Ref converts to a narrower protocol, a lambda without captures
// starts. SPDX-License-Identifier: MIT
#include <string>
#include <troupe/troupe.hpp>

struct Add {
  int amount = 0;
};
struct Total {
  using reply = int;
};
using Adding = troupe::messages<Add>;
struct Counter {
  using accepts = troupe::messages<Add, Total>;
  void on(const Add&, troupe::Self&) {}
  int on(const Total&) { return 0; }
};

troupe::Ref<Adding> narrow(troupe::Node& node) { return node.spawn<Counter>("counter").value(); }

void start() {
  troupe::Process process{[](const std::string&, int) {}, "bob", 7};
  process.start().value();
}
