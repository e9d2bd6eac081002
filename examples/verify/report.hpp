// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "judge.hpp"
#include "manifest.hpp"

namespace verify {

enum class DeathKind : std::uint8_t { killed, hung, crashed };

struct Death {
  std::string role{};
  int pid = 0;
  std::string reason{};
  DeathKind kind = DeathKind::killed;
};

/// What came of the job. `files`, `ok`, the paths and `malformed` speak of the list, each line of it
/// once; all else speaks of the whole run over all its passes.
struct Outcome {
  std::uint64_t files = 0;
  std::uint64_t ok = 0;
  std::vector<std::string> differing{};
  std::vector<std::string> missing{};
  std::vector<std::string> unreadable{};
  std::vector<Malformed> malformed{};

  std::uint64_t verdicts = 0;
  std::uint64_t passes = 1;
  std::uint64_t bytes = 0;
  double seconds = 0;
  std::uint64_t lost = 0;           ///< entries that were listed and have no verdict
  std::uint64_t counted_twice = 0;  ///< entries whose verdict was counted more than once
  std::uint64_t redone = 0;         ///< checks that were begun again after a death
  std::uint64_t dropped_duplicates = 0;
  std::vector<Death> deaths{};

  std::optional<Judgement> judgement{};
  std::optional<std::string> failure{};  ///< why the job could not be done: "what: why; try …"
};

/// More deaths than this are shown grouped by role and cause; more paths than this are not shown.
inline constexpr std::size_t shown_max = 20;

/// 1 the job failed, or lost or doubled a verdict, or had nothing to check; 3 some files (or, with a
/// judgement, some of the two's verdicts) did not match, or lines were malformed; else 0.
[[nodiscard]] int exit_code(const Outcome& outcome) noexcept;

/// The whole result in one sentence.
[[nodiscard]] std::string headline(const Outcome& outcome);
/// The end card: the headline and all that stands behind it. Safe on a terminal.
[[nodiscard]] std::string card(const Outcome& outcome);
/// Where the list is malformed, line by line; empty if nowhere. Safe on a terminal.
[[nodiscard]] std::string malformed_lines(const Outcome& outcome);
/// One JSON object and a newline. Paths keep every byte: control characters as \u00NN, a byte NN
/// that is not part of UTF-8 as \udcNN, which Python's surrogateescape turns back.
[[nodiscard]] std::string json(const Outcome& outcome);

}  // namespace verify
