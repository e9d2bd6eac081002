// SPDX-License-Identifier: MIT
#pragma once

#include <troupe/transport/lane.hpp>

#include "transport/lane_ends.hpp"

// Fresh incarnations of a lane's ends, made from the files that the last ones left.
namespace troupe::test {

/// head ≤ tail ≤ head + capacity, or an exception that says `malformed`.
void check_words(int writer_file, int reader_file, const LaneSpec& spec);

/// Of its reader.
struct FreshReader {
  static constexpr std::size_t slots = 2;

  FreshReader(int writer_file, int reader_file, const LaneSpec& lane_spec);
  /// The next epoch, from where its slot's last one ended.
  void replace_lane(int writer_file, const LaneSpec& next);

  LaneSpec spec;
  OwnedFd credit_bell = create_bell().value();
  OwnedFd file;
  ReaderFile words;
  LaneReader reader;
};

/// Of its sender: a lane of its own, the last one's next epoch in the same slot.
struct FreshWriter {
  FreshWriter(const FreshReader& peer, int bell);

  LaneSpec spec;
  OwnedFd file;
  LaneWriter writer;
};

}  // namespace troupe::test
