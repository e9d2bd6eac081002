// expect: troupe: this callable holds captured state, which another process cannot see; pass it as an
// argument SPDX-License-Identifier: MIT
#include <iostream>
#include <troupe/runtime/process.hpp>

void start(int number) {
  troupe::Process process{[number] { std::cout << number; }};
  process.start().value();
}
