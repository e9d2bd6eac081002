// SPDX-License-Identifier: MIT
#pragma once
// The same measurements as in reference.hpp, made with Troupe.

#include <functional>
#include <troupe/troupe.hpp>

#include "reference.hpp"

namespace troupe::bench {

/// An actor that takes messages of one size and counts them, and the ways to measure it. The sender is this
/// program.
struct Link {
  std::function<double(std::size_t count)>
      one_way;  ///< messages a second, until the last one has been handled
  std::function<double(std::size_t rounds, std::chrono::nanoseconds pause)>
      round_trip;  ///< median nanoseconds of an ask
};

/// For 8, 64, 512, 4096 and 65536 bytes: structs up to 512, vectors above. Spawns the actor in its place.
[[nodiscard]] Link link(Node& node, std::size_t bytes, Placement placement);

/// Nanoseconds from Process::start to the first line of its function.
[[nodiscard]] double process_start(Stamp& stamp);

/// An actor that is killed again and again.
class Victim {
 public:
  Victim(Node& node, Stamp& stamp);
  /// Nanoseconds from the call that sends SIGKILL to the first line of the first handler in its replacement.
  [[nodiscard]] double restart();

 private:
  struct Moment {
    std::string path{};
  };
  struct Worker {
    using accepts = messages<Moment>;
    void on(const Moment& moment);
  };
  Node& node_;
  Stamp& stamp_;
  Ref<Worker> worker_{};
};

}  // namespace troupe::bench
