// SPDX-License-Identifier: MIT
// An actor and a queue that programs in other languages talk to: client.py and client.js beside this file.
#include <iostream>
#include <troupe/foreign/endpoint.hpp>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/queue.hpp>
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

struct Job {
  std::string name{};
  std::optional<int> times{};
};

/// A process of its own. If it is killed, what it has not acknowledged goes to whoever reads next.
void work(troupe::Receiver<Job> in) {
  for (auto& job : in) {
    std::cout << "job: " << job->name << ", " << job->times.value_or(1) << " x" << std::endl;
    job.acknowledge();
  }
}

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Node node;
  const auto counter = node.spawn<Counter>("counter").value();
  troupe::Queue<Job> jobs;
  troupe::Process worker{{.name = "worker", .daemon = true}, work, jobs.receiver()};
  worker.start().value();
  auto endpoint =
      troupe::foreign::Endpoint::create({.address = argc > 1 ? argv[1] : "tcp://127.0.0.1:5555"}).value();
  endpoint.expose<Add, Total, Statistics>("counter", counter).value();
  endpoint.expose<Job>("jobs", jobs.sender()).value();
  std::cout << endpoint.address() << std::endl;
  endpoint.serve(troupe::Duration::max()).value();  // until a signal ends the program, and its actors with it
}
