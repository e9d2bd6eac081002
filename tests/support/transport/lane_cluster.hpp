// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <vector>

#include "transport/forked.hpp"
#include "transport/shared_value.hpp"
#include "transport/witness.hpp"

// Processes joined by lanes, which can be killed and stopped at any time. The test is the maker of their
// lanes, and plays the keeper's part: a new sender has a new lane, a new receiver a new C-file with the old
// heads, and whoever dies, his peers' bells are rung. Nothing survives a death but what lies in those files.
namespace troupe::test {

/// Who sends to whom. A node has one lane out at most.
struct Topology {
  struct Edge {
    std::size_t from = 0;
    std::size_t to = 0;
  };
  const char* name = "";
  std::size_t nodes = 0;
  std::vector<Edge> edges{};
  /// Messages of one source that are on their way at a time; in a ring so few that no lane is ever full.
  std::uint64_t window = UINT64_MAX;

  [[nodiscard]] static Topology pair();
  [[nodiscard]] static Topology fan_in(std::size_t senders);
  [[nodiscard]] static Topology chain(std::size_t nodes);
  [[nodiscard]] static Topology ring(std::size_t nodes);
};

inline constexpr std::size_t edges_max = 64;

/// What all of them see.
struct ClusterWorld {
  std::array<Witness, edges_max> seen{};                     ///< of each edge, at its receiving end
  std::array<std::atomic<std::uint64_t>, edges_max> sent{};  ///< how many there are in all, by the edge that
                                                             ///< they began with; 0 while that is open
  std::atomic<bool> stop_sending{false};
  std::atomic<bool> done{false};
};

/// Owner: one thread, the parent of all those processes.
class LaneCluster {
 public:
  LaneCluster(const Topology& topology, TimePoint deadline);
  LaneCluster(const LaneCluster&) = delete;
  ~LaneCluster() = default;

  [[nodiscard]] bool late() const { return Clock::now() >= deadline_; }
  /// Of each edge.
  [[nodiscard]] std::span<const Witness> seen() const { return std::span{world_->seen}.first(edges_.size()); }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] bool runs(std::size_t node) const { return nodes_[node].process.has_value(); }
  /// How many nodes send to it: its death repeats that many messages at most.
  [[nodiscard]] std::size_t lanes_into(std::size_t node) const { return nodes_[node].in.size(); }
  [[nodiscard]] pid_t pid(std::size_t node) const { return nodes_[node].process->pid(); }

  /// Carries news until `until`.
  void serve(TimePoint until);
  /// SIGKILL to one that runs. Its successor is started as soon as its lanes allow it.
  void kill(std::size_t node);
  /// Lets all come to an end. True if everything arrived and all of them said that they are done.
  [[nodiscard]] bool finish();

 private:
  struct KeptLane {
    LaneSpec spec;
    OwnedFd file;
  };
  struct Edge {
    Topology::Edge ends;
    std::size_t place = 0;         ///< among its reader's
    std::deque<KeptLane> lanes{};  ///< oldest first; those that are not drained
    std::uint64_t last_id = 0;
    std::uint32_t next_slot = 0;
    bool announced = false;  ///< the newest lane's sender has mapped it
  };
  struct Node {
    OwnedFd bell;
    std::vector<std::size_t> in{};
    std::optional<std::size_t> out{};
    OwnedFd reader_file{};
    bool reader_known = false;  ///< its present incarnation has mapped and sealed it
    SocketChannel control{};
    std::optional<Forked> process{};
  };

  void start_all();
  [[nodiscard]] bool start(std::size_t node);
  void make_lane(Edge& edge);
  void hear(std::size_t node);
  void tell_reader(const Edge& edge, const KeptLane& lane) const;
  void tell_writer(const Edge& edge) const;
  void drop_drained(Edge& edge) const;
  void knock(const Node& node) const;
  [[nodiscard]] std::uint64_t next_number(std::size_t edge) const;
  [[nodiscard]] std::uint64_t head_of(const Edge& edge, const LaneSpec& spec) const;
  [[nodiscard]] std::size_t slots_of(const Node& node) const;
  [[nodiscard]] bool all_arrived() const;

  Topology topology_;
  TimePoint deadline_;
  SharedValue<ClusterWorld> world_;
  std::deque<Edge> edges_;
  std::vector<Node> nodes_;
};

}  // namespace troupe::test
