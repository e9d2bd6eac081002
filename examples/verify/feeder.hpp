// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <troupe/troupe.hpp>

#include "actors.hpp"

namespace verify {

/// Hands standard input to the lister, piece by piece, as fast as both go; keeps a copy in an unnamed file
/// for what reads the list again: the next pass, the judge, the names of what differs.
class Feeder {
 public:
  [[nodiscard]] static troupe::Result<Feeder> create(int input);

  /// Waits for input until `deadline` and hands on what there is. An Error when it cannot be read.
  [[nodiscard]] troupe::Result<void> feed(const troupe::Ref<Lister>& lister, troupe::TimePoint deadline);
  [[nodiscard]] bool done() const noexcept { return done_; }
  /// The lister has as much as it takes: wait for the hashers instead of the input.
  [[nodiscard]] bool is_held_back() const noexcept { return held_back_; }
  /// A path under which other processes of this machine can read the copy, while this object lives.
  [[nodiscard]] std::string spool_path() const;
  [[nodiscard]] troupe::Result<troupe::OwnedFd> open_spool() const;

 private:
  explicit Feeder(int input) noexcept : input_{input} {}
  [[nodiscard]] troupe::Result<void> read_piece(troupe::TimePoint deadline);
  [[nodiscard]] troupe::Result<void> keep_copy() const;

  static constexpr std::size_t piece_bytes_max = 16 * 1024;
  int input_;
  troupe::OwnedFd spool_{};
  Feed piece_{};
  bool has_piece_ = false;
  bool held_back_ = false;
  bool done_ = false;
};

}  // namespace verify
