// SPDX-License-Identifier: MIT
// Starts and restarts from a small and from a large program, beside fork and posix_spawn in the same run.
#include <benchmark/benchmark.h>

#include <functional>

#include "programs.hpp"
#include "subject.hpp"

namespace troupe::bench {
namespace {

constexpr std::size_t small_bytes = 10 << 20U;
constexpr std::size_t large_bytes = 1 << 30U;
constexpr std::size_t times = 20;

/// The median of so many, while the program holds so much.
void add_for_both_sizes(const std::string& name, const std::function<double()>& nanoseconds) {
  for (const std::size_t bytes : {small_bytes, large_bytes})
    add(name + (bytes == small_bytes ? "/10MiB" : "/1GiB"), [=](benchmark::State& state) {
      const Ballast ballast{bytes};
      [[maybe_unused]] const double warm = nanoseconds();
      for (auto _ : state) {
        std::vector<double> all;
        for (std::size_t i = 0; i < times; ++i) all.push_back(nanoseconds());
        state.SetIterationTime(median(std::move(all)) / 1e9);
      }
    });
}

}  // namespace
}  // namespace troupe::bench

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::bench::bare::end_if_spawned(argc, argv);
  using namespace troupe::bench;
  troupe::Node node;
  Stamp stamp;
  Victim victim{node, stamp};
  add_for_both_sizes("start/troupe", [&] { return process_start(stamp); });
  add_for_both_sizes("start/fork", [&] { return bare::fork_start(stamp); });
  add_for_both_sizes("start/posix_spawn", [&] { return bare::spawn_start(stamp); });
  add_for_both_sizes("restart/troupe", [&] { return victim.restart(); });
  add_for_both_sizes("restart/fork", [&] { return bare::fork_restart(stamp); });
  return run(argc, argv);
}
