// SPDX-License-Identifier: MIT
// An actor is a struct with on(); it runs in a process of its own and is replaced when it dies.
#include <iostream>
#include <troupe/troupe.hpp>

struct Add {
  int amount = 0;
};
struct Total {
  using reply = int;
};

struct Counter {
  using accepts = troupe::messages<Add, Total>;
  struct Kept {
    int total = 0;
  } kept;  // is there again after a crash
  void on(const Add& m) { kept.total += m.amount; }
  int on(const Total&) { return kept.total; }
};

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  troupe::init(argc, argv);
  troupe::Node node;
  auto counter = node.spawn<Counter>("counter").value();
  counter.send(Add{2});
  node.signal("counter", 9).value();  // kill -9
  counter.send(Add{40});
  std::cout << counter.ask(Total{}, 2s).value() << '\n';
}
