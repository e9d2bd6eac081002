// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/lane.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <vector>

// What the maker of a lane does, in one process, for tests. A failure is an exception.
namespace troupe::test {

/// Bytes that depend on the seed alone, so that whoever gets them can tell whether they are whole.
[[nodiscard]] std::vector<std::byte> pattern(std::uint64_t seed, std::size_t bytes);

[[nodiscard]] OwnedFd new_writer_file(const LaneSpec& spec);
/// A C-file in which this slot begins at `head`, the others at 0.
[[nodiscard]] OwnedFd new_reader_file(std::size_t slots, std::uint64_t head = 0, std::size_t slot = 0);
/// The C-file of a reader's next incarnation: heads and attempt words of the last one.
[[nodiscard]] OwnedFd next_reader_file(int last, std::size_t slots);

[[nodiscard]] std::shared_ptr<const ReaderView> view_of(
    int reader_file, std::size_t slots, ReaderView::Seals seals = ReaderView::Seals::required);

/// Reserves, copies and publishes; false if there is no room.
[[nodiscard]] bool send(LaneWriter& writer, std::span<const std::byte> payload, const FrameInfo& info);
/// Sends frame after frame of `payload_bytes`, numbered from `first`, until there is no room. Returns how
/// many.
std::size_t fill(LaneWriter& writer, std::size_t payload_bytes, std::uint64_t first = 1);

struct Received {
  FrameInfo info{};
  std::uint64_t offset = 0;
  std::vector<std::byte> payload{};
};
/// Peeks, begins an attempt, acknowledges and settles everything that is pending.
[[nodiscard]] std::vector<Received> receive_all(LaneReader& reader);

/// Takes a bell's count away, and says whether it had been rung: for tests, which alone may read a bell.
[[nodiscard]] bool was_rung(int bell);

/// A lane with both its ends.
struct Lane {
  static constexpr std::size_t slots = 4;

  explicit Lane(const LaneSpec& lane_spec = {.id = 7});
  /// The reader has died: everything of its end is made anew, and the writer does not know yet.
  void restart_reader();
  /// Tells the writer of the reader's present incarnation.
  void attach() { writer.attach_reader(view_of(reader_file.get(), slots), reader_bell.get()); }

  LaneSpec spec;
  OwnedFd writer_file;
  OwnedFd reader_file;
  OwnedFd reader_bell;
  OwnedFd credit_bell;
  ReaderFile words;
  LaneWriter writer;
  LaneReader reader;
};

}  // namespace troupe::test
