// SPDX-License-Identifier: MIT
// A static constructor of this program starts a thread, so forking it is unsound.
#include <poll.h>

#include <iostream>
#include <thread>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/process.hpp>

namespace {

struct Background {
  Background() {
    std::thread{[] { ::poll(nullptr, 0, -1); }}.detach();
  }
} background;

void greet() { std::cout << "hello\n"; }

}  // namespace

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Process forked{{.method = troupe::StartMethod::forkserver}, greet};
  const auto refused = forked.start();
  std::cout << (refused ? "started" : refused.error().text) << '\n' << std::flush;
  troupe::Process by_default{greet};
  by_default.start().value();
  std::cout << by_default.join().value().reason << '\n' << std::flush;
}
