// expect: troupe: the function cannot be called with these arguments
// SPDX-License-Identifier: MIT
#include <string>
#include <troupe/runtime/process.hpp>

void start() {
  troupe::Process process{[](const std::string&, int) {}, "bob"};
  process.start().value();
}
