// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <troupe/transport/result.hpp>
#include <vector>

#include "manifest.hpp"
#include "md5.hpp"

namespace verify {

/// All that md5sum says about a file.
enum class JudgeVerdict : std::uint8_t { ok, failed, failed_open_or_read };

[[nodiscard]] std::string_view to_string(JudgeVerdict verdict) noexcept;
[[nodiscard]] JudgeVerdict as_judge(Verdict verdict) noexcept;

struct Disagreement {
  std::uint64_t index = 0;  ///< the entry's number in the list, from 0
  std::string path{};
  std::optional<Verdict> ours{};  ///< none: we lost it
  JudgeVerdict theirs{};
};

/// What came of asking md5sum about every entry.
struct Judgement {
  std::uint64_t compared = 0;
  /// Fifos and devices: md5sum would wait for their writer, so it was not asked.
  std::uint64_t not_judged = 0;
  std::uint64_t disagreeing = 0;
  std::vector<Disagreement> disagreements{};  ///< the first `disagreements_max`
  std::chrono::nanoseconds took{};            ///< md5sum alone, from its start to its end

  static constexpr std::size_t disagreements_max = 20;
  [[nodiscard]] bool agrees() const noexcept { return disagreeing == 0; }
};

struct JudgeOptions {
  std::string root = "/";
  /// How long md5sum may be silent before it is killed: longer than its largest file takes.
  std::chrono::nanoseconds silent_within = std::chrono::minutes{10};
  std::string program = "md5sum";
};

/// Runs coreutils' `md5sum -c` in the root folder over the list, line by line as it was written, and
/// compares verdict after verdict: `ours` answers for the entry of an index, malformed lines not counted.
/// Memory is flat in the list's length. When this returns, md5sum has ended and is reaped.
///
/// An Error when md5sum cannot run, is silent for too long, or answers about other files than were
/// asked: then it reads the list differently from us.
[[nodiscard]] troupe::Result<Judgement> judge(
    ManifestReader list, const JudgeOptions& options,
    const std::function<std::optional<Verdict>(std::uint64_t)>& ours);

}  // namespace verify
