// expect: troupe: this type cannot travel between processes
// SPDX-License-Identifier: MIT
#include <string_view>
#include <troupe/troupe.hpp>

struct Name {
  using reply = std::string_view;
};
struct Person {
  using accepts = troupe::messages<Name>;
  std::string_view on(const Name&) { return "anna"; }
};

void start(troupe::Node& node) { node.spawn<Person>("person").value(); }
