// SPDX-License-Identifier: MIT
// Starts everything that can be started, says the pids, a line each and an empty one, and waits to be killed.
#include <unistd.h>

#include <iostream>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/troupe.hpp>

namespace {

struct Nothing {};

struct Idler {
  using accepts = troupe::messages<Nothing>;
  void on(const Nothing& /*message*/) {}
};

void wait_for_ever() {
  for (;;) ::pause();
}

void start_another_and_wait(troupe::StartMethod method) {
  troupe::Process nested{{.name = "nested", .method = method}, wait_for_ever};
  nested.start().value();
  std::cout << nested.pid() << '\n' << std::flush;
  wait_for_ever();
}

}  // namespace

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Node node;
  node.spawn<Idler>("forked").value();
  node.spawn<Idler>("spawned", {.method = troupe::StartMethod::spawn}).value();
  troupe::Process plain{{.name = "plain"}, start_another_and_wait, troupe::StartMethod::forkserver};
  troupe::Process spawned{{.name = "spawned", .method = troupe::StartMethod::spawn},
                          start_another_and_wait,
                          troupe::StartMethod::spawn};
  plain.start().value();
  spawned.start().value();
  const auto children = node.children().value();
  for (const auto& child : children) std::cout << child.pid << '\n';
  std::cout << plain.pid() << '\n' << spawned.pid() << '\n';
  std::cout << troupe::detail::KeeperLink::of_process().value()->keeper_pid() << '\n' << std::flush;
  wait_for_ever();
}
