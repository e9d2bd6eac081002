// SPDX-License-Identifier: MIT
// What CAF's actors do in one process: caf_peer <measurement> <bytes> <count> [<senders>]
// Prints one figure: messages a second, or the median nanoseconds of a round trip. Messages have 64 bytes.
#include <algorithm>
#include <array>
#include <caf/all.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

struct Block {
  std::array<std::uint8_t, 64> bytes{};
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, Block& block) {
  return f(block.bytes);
}

namespace {

using Clock = std::chrono::steady_clock;

double nanoseconds_since(Clock::time_point before) {
  return std::chrono::duration<double, std::nano>(Clock::now() - before).count();
}

struct Count {
  std::size_t left = 0;
  caf::actor tell;
};

caf::behavior sink(caf::stateful_actor<Count>* self, std::size_t count, const caf::actor& tell) {
  self->state = {count, tell};
  return {[self](const Block&) {
    if (--self->state.left == 0) self->send(self->state.tell, caf::ok_atom::value);
  }};
}

caf::behavior source(caf::event_based_actor* self, const caf::actor& to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) self->send(to, Block{});
  return {};
}

double one_way(caf::actor_system& system, std::size_t count, std::size_t senders) {
  caf::scoped_actor here{system};
  const std::size_t each = count / senders;
  const auto to = system.spawn(sink, each * senders, caf::actor_cast<caf::actor>(here));
  const auto before = Clock::now();
  for (std::size_t i = 0; i < senders; ++i) system.spawn(source, to, each);
  here->receive([](caf::ok_atom) {});
  return static_cast<double>(each * senders) * 1e9 / nanoseconds_since(before);
}

caf::behavior echo() {
  return {[](const Block& block) { return block; }};
}

struct Rounds {
  std::vector<double> times;
  Clock::time_point before;
};

caf::behavior asker(caf::stateful_actor<Rounds>* self, const caf::actor& to, std::size_t rounds,
                    const caf::actor& tell) {
  const auto ask = [self, to] {
    self->state.before = Clock::now();
    self->send(to, Block{});
  };
  ask();
  return {[=](const Block&) {
    auto& times = self->state.times;
    times.push_back(nanoseconds_since(self->state.before));
    if (times.size() < rounds) return ask();
    std::nth_element(times.begin(), times.begin() + static_cast<long>(rounds / 2), times.end());
    self->send(tell, times[rounds / 2]);
  }};
}

double round_trip(caf::actor_system& system, std::size_t rounds) {
  caf::scoped_actor here{system};
  system.spawn(asker, system.spawn(echo), rounds, caf::actor_cast<caf::actor>(here));
  double median = 0;
  here->receive([&](double result) { median = result; });
  return median;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || std::strcmp(argv[2], "64") != 0) return 2;
  caf::actor_system_config config;
  config.add_message_type<Block>("Block");
  caf::actor_system system{config};
  const std::size_t count = std::strtoull(argv[3], nullptr, 10);
  const std::size_t senders = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 1;
  const bool is_one_way = std::strcmp(argv[1], "one_way") == 0;
  std::printf("%.3f\n", is_one_way ? one_way(system, count, senders) : round_trip(system, count));
}
