// SPDX-License-Identifier: MIT
// The first program: a child process that greets.
#include <unistd.h>

#include <iostream>
#include <string>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/process.hpp>

void greet(const std::string& name) {
  std::cout << "hello " << name << " from a child, whose parent is " << (::getppid() == 1 ? "gone" : "alive")
            << '\n';
}

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Process child{greet, "bob"};
  child.start().value();
  std::cout << child.join().value().reason << '\n';
}
