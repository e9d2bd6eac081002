// SPDX-License-Identifier: MIT
#pragma once
// What the google-benchmark programs have in common.

#include <benchmark/benchmark.h>

#include <string>

namespace troupe::bench {

/// A benchmark that times itself; one iteration is one whole measurement.
template <class Body>
void add(const std::string& name, Body body) {
  benchmark::RegisterBenchmark(name.c_str(), body)
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMicrosecond);
}

/// Runs what was added, five times each in random order, so that a slow minute of the machine meets ours and
/// the reference alike; shows the medians. Options on the command line come after these and win.
int run(int argc, char** argv);

}  // namespace troupe::bench
