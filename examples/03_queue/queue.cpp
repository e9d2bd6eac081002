// SPDX-License-Identifier: MIT
// Producers and consumers, each a process, over shared memory, ipc:// or tcp:// by one option.
#include <array>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string_view>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/queue.hpp>
#include <troupe/zmq/queue.hpp>

namespace {

using namespace std::chrono_literals;
using troupe::Process;
using troupe::Queue;
using troupe::Receiver;
using troupe::Sender;

constexpr int numbers = 1000;

struct Number {
  int value = 0;
};
struct Square {
  int of = 0;
  std::int64_t value = 0;
};

void produce(Sender<Number> out, int first, int step) {
  for (int value = first; value <= numbers; value += step) out.put({value}, 10s).value();
}

/// An item that its consumer does not acknowledge, since it is killed, goes to the other one.
void consume(Receiver<Number> in, Sender<Square> out) {
  for (auto& number : in) {
    const std::int64_t value = number->value;
    out.put({number->value, value * value}, 10s).value();
    number.acknowledge();
  }
}

template <class T>
Queue<T> make_queue(std::string_view over) {
  if (over == "shm") return Queue<T>{};
  const char* const endpoint = over == "ipc" ? "ipc://*" : "tcp://127.0.0.1:*";
  return Queue<T>::over(troupe::zmq::QueueServer::create(endpoint).value());
}

std::int64_t sum_of_squares(std::string_view over) {
  auto jobs = make_queue<Number>(over);
  auto results = make_queue<Square>(over);
  std::array<Process, 4> processes{Process{produce, jobs.sender(), 1, 2},
                                   Process{produce, jobs.sender(), 2, 2},
                                   Process{consume, jobs.receiver(), results.sender()},
                                   Process{consume, jobs.receiver(), results.sender()}};
  for (Process& process : processes) process.start().value();
  jobs.close();  // from now on the stream ends with its last sender
  auto in = results.receiver();
  results.close();
  std::int64_t sum = 0;
  for (auto& square : in) {
    sum += square->value;
    square.acknowledge();
  }
  return sum;
}

std::optional<std::string_view> carrier(int argc, char** argv) {
  if (argc == 1) return "shm";
  if (argc != 3 || std::string_view{argv[1]} != "--over") return std::nullopt;
  for (const std::string_view known : {"shm", "ipc", "tcp"})
    if (argv[2] == known) return known;
  return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  const auto over = carrier(argc, argv);
  if (!over) {
    std::cerr
        << "queue: what carries the queues?\n  try: queue --over shm, queue --over ipc, queue --over tcp\n";
    return 2;
  }
  std::cout << "the squares of 1 to " << numbers << " add up to " << sum_of_squares(*over) << '\n';
}
