// SPDX-License-Identifier: MIT
// An actor that programs in other languages talk to: client.py and client.js beside this file.
#include <iostream>
#include <troupe/foreign/endpoint.hpp>
#include <troupe/troupe.hpp>

struct Add {
  int amount = 0;
};
struct Total {
  using reply = int;
};
struct Statistics {
  struct Answer {
    int messages = 0;
    std::vector<int> amounts{};
    std::optional<int> largest{};
  };
  using reply = Answer;
};

struct Counter {
  using accepts = troupe::messages<Add, Total, Statistics>;
  struct Kept {
    std::vector<int> amounts{};
  } kept;
  void on(const Add& m) { kept.amounts.push_back(m.amount); }
  int on(const Total&) {
    int total = 0;
    for (const int amount : kept.amounts) total += amount;
    return total;
  }
  Statistics::Answer on(const Statistics&) {
    Statistics::Answer answer{static_cast<int>(kept.amounts.size()), kept.amounts, std::nullopt};
    for (const int amount : kept.amounts) answer.largest = std::max(answer.largest.value_or(amount), amount);
    return answer;
  }
};

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Node node;
  const auto counter = node.spawn<Counter>("counter").value();
  auto endpoint =
      troupe::foreign::Endpoint::create({.address = argc > 1 ? argv[1] : "tcp://127.0.0.1:5555"}).value();
  endpoint.expose<Add, Total, Statistics>("counter", counter).value();
  std::cout << endpoint.address() << std::endl;
  endpoint.serve(troupe::Duration::max()).value();  // until a signal ends the program, and its actors with it
}
