// SPDX-License-Identifier: MIT
// bars <set>: measures the figures that are expected of this library and prints each as `name ratio must`.
// A ratio is the median of pairs, ours and the reference by turns. Exit code 0: all hold; 1: not; 2: usage.
#include <cstdio>
#include <functional>
#include <iostream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "subject.hpp"

namespace troupe::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t small_bytes = 10 << 20U;
constexpr std::size_t large_bytes = 1 << 30U;
constexpr std::size_t pairs = 7;
constexpr std::size_t payload_bytes = 64;

struct Range {
  double min = 0;
  double max = std::numeric_limits<double>::infinity();
  const char* text = "";
};

using Figure = std::function<double()>;

double ratio_of(const Figure& ours, const Figure& reference) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < pairs; ++i) {
    const bool ours_first = i % 2 == 0;  // whoever is second finds a warmer machine
    const double first = ours_first ? ours() : reference();
    const double second = ours_first ? reference() : ours();
    ratios.push_back(ours_first ? first / second : second / first);
  }
  return median(std::move(ratios));
}

bool bar(const char* name, const Range& must, const Figure& ours, const Figure& reference) {
  const double ratio = ratio_of(ours, reference);
  std::printf("%s %.2f %s\n", name, ratio, must.text);
  std::fflush(stdout);
  return ratio >= must.min && ratio <= must.max;
}

double median_of(std::size_t times, const Figure& figure) {
  std::vector<double> all;
  for (std::size_t i = 0; i < times; ++i) all.push_back(figure());
  return median(std::move(all));
}

bool messages_hold() {
  constexpr std::size_t count = 1'000'000;
  constexpr std::size_t rounds = 2'000;
  constexpr auto until_asleep = 200us;  // ten times as long as an idle reader spins
  Node node;
  const Link across = link(node, payload_bytes, Placement::across_cores);
  const Link same = link(node, payload_bytes, Placement::same_core);
  bool hold = bar(
      "one_way_64B_vs_bare_ring", {.min = 0.25, .text = ">=0.25"}, [&] { return across.one_way(count); },
      [&] { return bare::ring_one_way(payload_bytes, count); });
  hold &= bar(
      "round_trip_asleep_same_core_vs_bare_bell", {.max = 1.5, .text = "<=1.5"},
      [&] { return same.round_trip(rounds, until_asleep); },
      [&] { return bare::bell_round_trip(payload_bytes, rounds, Placement::same_core, until_asleep); });
  hold &= bar(
      "round_trip_asleep_across_cores_vs_bare_bell", {.max = 1.5, .text = "<=1.5"},
      [&] { return across.round_trip(rounds, until_asleep); },
      [&] { return bare::bell_round_trip(payload_bytes, rounds, Placement::across_cores, until_asleep); });
  return hold;
}

bool starts_hold() {
  constexpr std::size_t starts = 15;
  Stamp stamp;
  const auto with = [&](std::size_t bytes, double (*start)(Stamp&)) {
    return [&stamp, bytes, start] {
      const Ballast ballast{bytes};
      [[maybe_unused]] const double warm = start(stamp);
      return median_of(starts, [&] { return start(stamp); });
    };
  };
  bool hold = bar("start_vs_fork_10MiB", {.max = 2, .text = "<=2"}, with(small_bytes, process_start),
                  with(small_bytes, bare::fork_start));
  hold &= bar("start_1GiB_vs_10MiB", {.min = 0.8, .max = 1.2, .text = "0.8..1.2"},
              with(large_bytes, process_start), with(small_bytes, process_start));
  return hold;
}

int run_bars(int argc, char** argv) {
  if (argc != 2 || std::string_view{argv[1]} != "main") {
    std::cerr << "bars: which set?\n  try: bars main\n";
    return 2;
  }
  const bool messages = messages_hold();
  const bool starts = starts_hold();
  return messages && starts ? 0 : 1;
}

}  // namespace
}  // namespace troupe::bench

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  return troupe::bench::run_bars(argc, argv);
}
