// expect: troupe: this type cannot travel between processes
// SPDX-License-Identifier: MIT
#include <troupe/runtime/process.hpp>

void fill(int* /*number*/) {}

void start() {
  int number = 0;
  troupe::Process process{fill, &number};
  process.start().value();
}
