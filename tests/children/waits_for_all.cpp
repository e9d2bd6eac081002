// SPDX-License-Identifier: MIT
// A program that waits for every child it has, as shells and old servers do: Troupe's are not among them.
#include <sys/wait.h>

#include <iostream>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/process.hpp>

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Process child{[] {}};
  child.start().value();
  int seen = 0;
  while (::wait(nullptr) > 0) ++seen;
  std::cout << "children seen: " << seen << '\n' << child.join().value().reason << '\n' << std::flush;
}
