// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <troupe/transport/result.hpp>

namespace troupe::envelope {

/// What a frame is; the top byte of lane::FrameHeader::sequence.
enum class Kind : std::uint8_t {
  mail,      ///< payload: the message
  question,  ///< payload: Question, then the message
  reply,     ///< payload: Reply, then the value, or the error's text
};

inline constexpr unsigned kind_shift = 56;
inline constexpr std::uint64_t number_mask = (std::uint64_t{1} << kind_shift) - 1;

/// In a sequence: descriptors belong to the frame, and wait for its reader.
inline constexpr std::uint64_t with_descriptors = std::uint64_t{1} << 63U;

/// In a sequence: the value is too large for a frame. In its place stands a Blob that holds its encoding, and
/// whose descriptor comes behind those that the value itself holds.
inline constexpr std::uint64_t apart = std::uint64_t{1} << 62U;

[[nodiscard]] constexpr std::uint64_t sequence(Kind kind, std::uint64_t number) noexcept {
  return static_cast<std::uint64_t>(kind) << kind_shift | (number & number_mask);
}
[[nodiscard]] constexpr Kind kind_of(std::uint64_t sequence) noexcept {
  return static_cast<Kind>((sequence & ~(with_descriptors | apart)) >> kind_shift);
}
[[nodiscard]] constexpr std::uint64_t number_of(std::uint64_t sequence) noexcept {
  return sequence & number_mask;
}

/// A question is dropped unhandled after its deadline. Its token comes back with the reply, so that a
/// late reply meets nobody: no two questions of a process have the same.
struct Question {
  std::int64_t deadline = 0;  ///< nanoseconds of the steady clock
  std::uint64_t token = 0;
};

struct Reply {
  std::uint64_t token = 0;
  std::uint32_t outcome = 0;  ///< 0: a value; else 1 + ErrorKind
  std::uint32_t reserved = 0;
};

static_assert(sizeof(Question) == 16 && sizeof(Reply) == 16);

[[nodiscard]] constexpr std::uint32_t outcome_of(ErrorKind kind) noexcept {
  return 1 + static_cast<std::uint32_t>(kind);
}
[[nodiscard]] constexpr ErrorKind error_of(std::uint32_t outcome) noexcept {
  const auto last = static_cast<std::uint32_t>(ErrorKind::system);
  return outcome == 0 || outcome - 1 > last ? ErrorKind::malformed : static_cast<ErrorKind>(outcome - 1);
}

}  // namespace troupe::envelope
