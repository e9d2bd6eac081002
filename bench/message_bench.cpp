// SPDX-License-Identifier: MIT
// Messages from this program to an actor, beside a bare ring, a pipe and a bare bell in the same run.
#include <benchmark/benchmark.h>

#include <memory>

#include "programs.hpp"
#include "subject.hpp"

namespace troupe::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::array<std::size_t, 5> sizes{8, 64, 512, 4096, 65536};
constexpr auto until_asleep = 200us;  ///< ten times as long as an idle reader spins
constexpr std::size_t rounds = 2'000;

std::size_t count_for(std::size_t bytes) {
  constexpr std::size_t small_count = 1'000'000;
  constexpr std::size_t bytes_max = std::size_t{1} << 30U;
  return std::min(small_count, bytes_max / bytes);
}

using Figure = std::function<double()>;

void add_one_way(const std::string& name, std::size_t bytes, const Figure& messages_per_second) {
  add(name, [=](benchmark::State& state) {
    for (auto _ : state)
      state.SetIterationTime(static_cast<double>(count_for(bytes)) / messages_per_second());
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(count_for(bytes)));
  });
}

void add_round_trip(const std::string& name, const Figure& nanoseconds) {
  add(name, [=](benchmark::State& state) {
    for (auto _ : state) state.SetIterationTime(nanoseconds() / 1e9);
  });
}

void add_round_trips_asleep(std::size_t bytes, Placement placement, const Link& ours) {
  const std::string name = std::string{"round_trip_asleep_"} +
                           (placement == Placement::same_core ? "same_core/" : "across_cores/") +
                           std::to_string(bytes);
  add_round_trip(name + "/troupe", [=] { return ours.round_trip(rounds, until_asleep); });
  add_round_trip(name + "/bell",
                 [=] { return bare::bell_round_trip(bytes, rounds, placement, until_asleep); });
  add_round_trip(name + "/pipe",
                 [=] { return bare::pipe_round_trip(bytes, rounds, placement, until_asleep); });
}

void add_size(Node& node, std::size_t bytes) {
  const std::string size = std::to_string(bytes);
  const Link across = link(node, bytes, Placement::across_cores);
  const Link same = link(node, bytes, Placement::same_core);
  const std::size_t count = count_for(bytes);
  add_one_way("one_way/" + size + "/troupe", bytes, [=] { return across.one_way(count); });
  add_one_way("one_way/" + size + "/ring", bytes, [=] { return bare::ring_one_way(bytes, count); });
  add_one_way("one_way/" + size + "/pipe", bytes, [=] { return bare::pipe_one_way(bytes, count); });
  add_round_trip("round_trip_awake/" + size + "/troupe", [=] { return across.round_trip(rounds, 0ns); });
  add_round_trip("round_trip_awake/" + size + "/ring", [=] { return bare::ring_round_trip(bytes, rounds); });
  add_round_trip("round_trip_awake/" + size + "/pipe",
                 [=] { return bare::pipe_round_trip(bytes, rounds, Placement::across_cores, 0ns); });
  add_round_trips_asleep(bytes, Placement::across_cores, across);
  add_round_trips_asleep(bytes, Placement::same_core, same);
}

}  // namespace
}  // namespace troupe::bench

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Node node;
  for (const std::size_t bytes : troupe::bench::sizes) troupe::bench::add_size(node, bytes);
  return troupe::bench::run(argc, argv);
}
