// SPDX-License-Identifier: MIT
// Ends without a word to what it has started: its keeper does that for it.
#include <unistd.h>

#include <iostream>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/runtime/process.hpp>

namespace {

void wait_for_ever() {
  for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Process child{wait_for_ever};
  child.start().value();
  std::cout << child.pid() << '\n'
            << troupe::detail::KeeperLink::of_process().value()->keeper_pid() << '\n'
            << std::flush;
  ::_exit(0);
}
