// SPDX-License-Identifier: MIT
// Senders and receivers that are killed again and again, whatever they are doing, and started anew; see
// tests/support/transport/lane_cluster.hpp. `TROUPE_LANE_KILLS`: how many deaths, of all topologies together.

#include <chrono>
#include <cstdlib>
#include <random>

#include "transport/lane_cluster.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::LaneCluster;
using test::Topology;

std::size_t wanted_kills() {
  const char* const text = std::getenv("TROUPE_LANE_KILLS");
  const std::size_t otherwise = test::can_step() ? 10'000 : 1'000;  // under a sanitizer a fork takes long
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class LaneKill : public test::NothingLeft {
 protected:
  /// `share` of all kills fall on this topology, in hundredths.
  static void kill_at_random(const Topology& topology, std::size_t share) {
    const auto kills = wanted_kills() * share / 100;
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random{seed};
    LaneCluster cluster{topology, deadline_in(60s + std::chrono::milliseconds{20 * kills})};

    std::uint64_t repeats_max = 0;
    for (std::size_t killed = 0; !cluster.late() && killed < kills;) {
      cluster.serve(deadline_in(std::chrono::microseconds{random() % 2000}));
      // The first more often than the others: of many that send to one, it is the one.
      const auto node = random() % 4 == 0 ? 0 : random() % cluster.size();
      if (!cluster.runs(node)) continue;
      cluster.kill(node);
      ++killed;
      repeats_max += cluster.lanes_into(node);
    }
    const bool finished = cluster.finish();
    const test::WitnessSum sum{cluster.seen()};
    sum.print(topology.name, kills);
    EXPECT_TRUE(finished) << "stuck, or one of them did not come to its end";
    sum.expect_sound(repeats_max);
  }
};

// What is sent and what is seen last must be the same for finish() to be true: nothing is lost at the end
// either.

TEST_F(LaneKill, OfAPairLosesTearsAndReordersNothingAndRepeatsAtMostOneMessageADeath) {
  kill_at_random(Topology::pair(), 40);
}

TEST_F(LaneKill, OfSixtyFourSendersAndTheirReceiverDoesNeither) { kill_at_random(Topology::fan_in(64), 20); }

TEST_F(LaneKill, InAChainOfEightDoesNeither) { kill_at_random(Topology::chain(8), 20); }

TEST_F(LaneKill, InARingDoesNeither) { kill_at_random(Topology::ring(4), 20); }

}  // namespace
}  // namespace troupe
