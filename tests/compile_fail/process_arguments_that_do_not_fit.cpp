// expect: troupe: the function cannot be called with these arguments
// SPDX-License-Identifier: MIT
#include <string>
#include <troupe/runtime/process.hpp>

void greet(const std::string& /*name*/, int /*times*/) {}

void start() {
  troupe::Process process{greet, 7, "bob"};
  process.start().value();
}
