// SPDX-License-Identifier: MIT
// A program that forgets troupe::init: its start is refused, and main runs once.
#include <iostream>
#include <troupe/runtime/process.hpp>

int main() {
  std::cout << "main runs\n" << std::flush;
  troupe::Process child{[] {}};
  const auto started = child.start();
  std::cout << (started ? "started" : started.error().text) << '\n' << std::flush;
}
