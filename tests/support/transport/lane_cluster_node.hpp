// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <vector>

#include "transport/lane_cluster.hpp"

namespace troupe::test {

inline constexpr std::size_t slots_per_edge = 4;

/// What goes over a node's control channel, with one descriptor.
struct ClusterNews {
  enum class Kind : std::uint32_t { lane, reader };
  Kind kind = Kind::lane;
  std::uint32_t edge = 0;  ///< its place among the node's
  LaneSpec spec{};         ///< of a lane
};

/// What an incarnation of a node is born with. Descriptors are borrowed from the maker.
struct NodeSeed {
  struct In {
    std::size_t edge = 0;
    int bell = -1;  ///< its sender's
    struct Lane {
      LaneSpec spec;
      int file;
    };
    std::vector<Lane> lanes{};
  };
  struct Out {
    std::size_t edge = 0;
    int bell = -1;  ///< its reader's
    std::size_t slots = 0;
    LaneSpec spec{};
    int file = -1;
    int reader_file = -1;  ///< -1: not mapped yet
    std::uint64_t next_number = 1;
  };
  ClusterWorld* world = nullptr;
  std::uint64_t window = 0;
  bool generates = false;  ///< else it passes on what it receives, if it sends at all
  int bell = -1;
  int reader_file = -1;
  const SocketChannel* control = nullptr;
  std::vector<In> in{};
  std::optional<Out> out{};
  TimePoint deadline{};
};

/// The life of one incarnation; its exit code.
[[nodiscard]] int run_node(const NodeSeed& seed);

[[nodiscard]] std::vector<std::byte> payload_of(std::uint64_t number);

}  // namespace troupe::test
