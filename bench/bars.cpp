// SPDX-License-Identifier: MIT
// bars <set>: measures the figures that are expected of this library, a line for each:
//
//   name  ratio  must  goal  the reference's own figure  PASS or MISS
//
// A ratio is the median of pairs, ours and the reference by turns. Exit code 0: every must holds; 1: not;
// 2: usage, or a peer is missing.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "blob_subject.hpp"
#include "lane_subject.hpp"
#include "peers.hpp"
#include "queue_subject.hpp"
#include "subject.hpp"

namespace troupe::bench {
namespace {

using namespace std::chrono_literals;
using peers::figure;
using Figure = std::function<double()>;

constexpr std::size_t payload_bytes = 64;

struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();

  [[nodiscard]] bool holds(double ratio) const { return ratio >= min && ratio <= max; }
  [[nodiscard]] std::string text() const {
    const auto number = [](double value) {
      std::string digits = std::to_string(value);
      digits.erase(digits.find_last_not_of('0') + 1);
      if (digits.back() == '.') digits.pop_back();
      return digits;
    };
    if (std::isfinite(min) && std::isfinite(max)) return number(min) + ".." + number(max);
    if (std::isfinite(min)) return ">=" + number(min);
    return std::isfinite(max) ? "<=" + number(max) : "-";
  }
};

enum class Unit { per_second, nanoseconds, wake_ups };

/// One figure that is expected. Without a reference it stands for itself.
struct Bar {
  const char* name;
  Range must;
  Range goal;
  Unit unit;
  Figure ours;
  Figure reference;
  std::size_t pairs = 7;
};

struct Measured {
  double ratio = 0;
  double reference = 0;
};

Measured measure(const Bar& bar) {
  constexpr unsigned seconds_max = 300;
  ::alarm(seconds_max);  // a peer that has died would be waited for
  std::vector<double> ratios;
  std::vector<double> references;
  for (std::size_t i = 0; i < bar.pairs; ++i) {
    const bool ours_first = i % 2 == 0;  // whoever is second finds a warmer machine
    double ours = ours_first ? bar.ours() : 0;
    const double reference = bar.reference ? bar.reference() : 1;
    if (!ours_first) ours = bar.ours();
    ratios.push_back(ours / reference);
    references.push_back(reference);
  }
  ::alarm(0);
  return {median(std::move(ratios)), median(std::move(references))};
}

std::string in_unit(double value, Unit unit) {
  std::array<char, 32> text{};
  const auto print = [&](const char* format, double number) {
    std::snprintf(text.data(), text.size(), format, number);
    return std::string{text.data()};
  };
  switch (unit) {
    case Unit::per_second:
      return value >= 1e6 ? print("%.3gM/s", value / 1e6) : print("%.3gk/s", value / 1e3);
    case Unit::nanoseconds: return value < 1e3 ? print("%.0fns", value) : print("%.3gus", value / 1e3);
    case Unit::wake_ups: return "-";
  }
  std::abort();
}

bool hold(std::span<const Bar> bars) {
  bool all = true;
  for (const Bar& bar : bars) {
    const Measured measured = measure(bar);
    const bool holds = bar.must.holds(measured.ratio);
    std::printf("%-42s %8.2f %8s %8s %10s %s\n", bar.name, measured.ratio, bar.must.text().c_str(),
                bar.goal.text().c_str(), in_unit(measured.reference, bar.unit).c_str(),
                holds ? "PASS" : "MISS");
    std::fflush(stdout);
    all = all && holds;
  }
  return all;
}

// ---- transport
// ----------------------------------------------------------------------------------------------

/// What a peer prints for 64 bytes; its processes start anew for each figure.
Figure peer(peers::Peer who, const char* measurement, std::size_t count, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{measurement, std::to_string(payload_bytes), std::to_string(count)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return [=] { return figure(who, arguments); };
}

bool transport_holds() {
  constexpr std::size_t count = 1'000'000;
  constexpr std::size_t slow_count = 100'000;  // for Python
  constexpr std::size_t large_bytes = 64 * std::size_t{1024};
  constexpr std::size_t large_count = 40'000;
  constexpr std::size_t rounds = 20'000;
  constexpr std::size_t rounds_asleep = 2'000;
  constexpr std::size_t few = 5;  // pairs, where each takes long
  using peers::Peer;
  const auto lane = [] { return lanes::one_way(count); };
  const auto asleep = [](Placement placement) {
    return [=] { return lanes::round_trip_asleep(rounds_asleep, placement, 0ns); };
  };
  const auto bell = [](Placement placement) {
    return [=] { return bare::bell_round_trip(payload_bytes, rounds_asleep, placement, 0ns); };
  };
  const auto queue = [](std::size_t ends) { return [=] { return queues::throughput(ends, ends, count); }; };
  constexpr std::size_t passes = 500;
  Node node;
  const BlobSubject blobs{node};
  const Bar bars[] = {
      {"lane_64B_vs_bare_ring",
       {.min = 0.4},
       {.min = 0.8},
       Unit::per_second,
       lane,
       [] { return bare::ring_one_way(payload_bytes, count); },
       15},
      {"lane_64B_vs_zeromq_ipc",
       {.min = 1.5},
       {.min = 4},
       Unit::per_second,
       lane,
       peer(Peer::zeromq, "one_way", count),
       few},
      {"lane_64B_vs_caf_in_process",
       {.min = 1.5},
       {.min = 5},
       Unit::per_second,
       lane,
       peer(Peer::caf, "one_way", count),
       few},
      {"lane_64B_vs_erlang_in_vm",
       {.min = 1.2},
       {.min = 3},
       Unit::per_second,
       lane,
       peer(Peer::erlang, "one_way", count),
       few},
      {"lane_64B_vs_python_queue",
       {.min = 20},
       {.min = 50},
       Unit::per_second,
       lane,
       peer(Peer::python, "queue", slow_count),
       few},
      {"round_trip_awake_vs_bare_ring",
       {.max = 2},
       {.max = 1.3},
       Unit::nanoseconds,
       [] { return lanes::round_trip_awake(rounds); },
       [] { return bare::ring_round_trip(payload_bytes, rounds); }},
      {"round_trip_asleep_same_core_vs_bare_bell",
       {.max = 1.2},
       {.max = 1.05},
       Unit::nanoseconds,
       asleep(Placement::same_core),
       bell(Placement::same_core)},
      {"round_trip_asleep_across_cores_vs_bare_bell",
       {.max = 1.2},
       {.max = 1.05},
       Unit::nanoseconds,
       asleep(Placement::across_cores),
       bell(Placement::across_cores)},
      {"lane_64KiB_vs_memcpy_twice",
       {.min = 0.5},
       {.min = 0.8},
       Unit::per_second,
       [] { return lanes::one_way_on_one_core(large_bytes, large_count); },
       [] { return bare::memcpy_twice(large_bytes, large_count, Placement::same_core); }},
      {"lane_64KiB_across_cores_vs_memcpy_in_and_out",
       {.min = 0.5},
       {.min = 0.8},
       Unit::per_second,
       [] { return lanes::one_way(large_bytes, large_count); },
       [] { return bare::memcpy_twice(large_bytes, large_count, Placement::across_cores); }},
      {"fan_in_64_senders_vs_1",
       {.min = 0.7},
       {.min = 1},
       Unit::per_second,
       [] { return lanes::fan_in(64, count); },
       [] { return lanes::fan_in(1, count); }},
      {"queue_1_to_1_vs_lane", {.min = 0.3}, {.min = 0.6}, Unit::per_second, queue(1), lane},
      {"queue_4_to_4_vs_zeromq_ipc",
       {.min = 1.5},
       {.min = 4},
       Unit::per_second,
       queue(4),
       peer(Peer::zeromq, "one_way", count, {"4", "4"}),
       few},
      {"queue_4_to_4_vs_python_queue",
       {.min = 20},
       {.min = 50},
       Unit::per_second,
       queue(4),
       peer(Peer::python, "queue", slow_count, {"4", "4"}),
       few},
      {"blob_1GiB_passed_and_viewed_vs_1KiB",
       {.max = 3},
       {.max = 1.2},
       Unit::nanoseconds,
       blobs.pass(std::size_t{1} << 30U, passes),
       blobs.pass(std::size_t{1} << 10U, passes)},
      {"wake_ups_of_an_idle_reader_per_second",
       {.max = 0},
       {.max = 0},
       Unit::wake_ups,
       lanes::wake_ups_idle,
       nullptr,
       1},
  };
  return hold(bars);
}

// ---- main
// ---------------------------------------------------------------------------------------------------

bool messages_hold() {
  constexpr std::size_t count = 1'000'000;
  constexpr std::size_t rounds = 2'000;
  constexpr auto until_asleep = 200us;  // ten times as long as an idle reader spins
  Node node;
  const Link across = link(node, payload_bytes, Placement::across_cores);
  const Link on_one_core = link(node, payload_bytes, Placement::same_core);
  const auto round_trip = [&](const char* name, Placement placement) {
    return Bar{name,
               {.max = 1.5},
               {},
               Unit::nanoseconds,
               [&, placement] {
                 const Link& with = placement == Placement::same_core ? on_one_core : across;
                 return with.round_trip(rounds, until_asleep);
               },
               [=] { return bare::bell_round_trip(payload_bytes, rounds, placement, until_asleep); }};
  };
  const Bar bars[] = {
      {"one_way_64B_vs_bare_ring",
       {.min = 0.25},
       {},
       Unit::per_second,
       [&] { return across.one_way(count); },
       [] { return bare::ring_one_way(payload_bytes, count); }},
      round_trip("round_trip_asleep_same_core_vs_bare_bell", Placement::same_core),
      round_trip("round_trip_asleep_across_cores_vs_bare_bell", Placement::across_cores),
  };
  return hold(bars);
}

bool starts_hold() {
  constexpr std::size_t small_bytes = 10 << 20U;
  constexpr std::size_t large_bytes = 1 << 30U;
  constexpr std::size_t starts = 15;
  Stamp stamp;
  const auto with = [&](std::size_t bytes, double (*start)(Stamp&)) {
    return [&stamp, bytes, start] {
      const Ballast ballast{bytes};
      [[maybe_unused]] const double warm = start(stamp);
      std::vector<double> all;
      for (std::size_t i = 0; i < starts; ++i) all.push_back(start(stamp));
      return median(std::move(all));
    };
  };
  const Bar bars[] = {
      {"start_vs_fork_10MiB",
       {.max = 2},
       {},
       Unit::nanoseconds,
       with(small_bytes, process_start),
       with(small_bytes, bare::fork_start)},
      {"start_1GiB_vs_10MiB",
       {.min = 0.8, .max = 1.2},
       {},
       Unit::nanoseconds,
       with(large_bytes, process_start),
       with(small_bytes, process_start)},
  };
  return hold(bars);
}

bool main_holds() {
  const bool messages = messages_hold();
  return starts_hold() && messages;
}

int run_bars(int argc, char** argv) {
  const std::string_view set = argc == 2 ? argv[1] : "";
  if (set == "main") return main_holds() ? 0 : 1;
  if (set == "transport") return transport_holds() ? 0 : 1;
  std::cerr << "bars: which set?\n  try: bars main, or bars transport\n";
  return 2;
}

}  // namespace
}  // namespace troupe::bench

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  try {
    return troupe::bench::run_bars(argc, argv);
  } catch (const std::exception& failure) {
    std::cerr << "bars: " << failure.what() << '\n';
    return 2;
  }
}
