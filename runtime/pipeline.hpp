// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <troupe/runtime/subprocess.hpp>
#include <utility>
#include <vector>

namespace troupe {

/// Programs that have ended, each of which read what the one before it wrote.
struct PipelineFinished {
  std::vector<ExitReport> reports{};  ///< in the order of the parts
  std::string standard_output{};      ///< of the last
  std::string standard_error{};       ///< of all, as it came
  bool timed_out = false;             ///< stopped at the end of `within`
  bool cut = false;                   ///< as in Finished

  /// No part failed. A part is excused for its SIGPIPE if the one after it did not fail: who reads has had
  /// enough (`yes | head -1`). One that makes an exit code of the same (EPIPE) has failed.
  [[nodiscard]] bool ok() const noexcept;
  /// `timed_out`, or `refused` with the first part that failed and the last lines of standard error.
  [[nodiscard]] Result<void> check() const;
};

/// A value: what is to be run, not yet running.
class Pipeline {
 public:
  explicit Pipeline(std::vector<std::vector<std::string>> parts) : parts_{std::move(parts)} {}

  /// As troupe::run. The options are every part's, but that standard_input and input are the first one's, and
  /// standard_output the last one's; with a pipe for standard_error all write to the same. A part that cannot
  /// be started is an error, and those before it are stopped. The end of `within` stops all at once.
  [[nodiscard]] Result<PipelineFinished> run(const SubprocessOptions& options = {}) const;

 private:
  std::vector<std::vector<std::string>> parts_;
};

/// pipeline({{"zcat", path}, {"grep", "-c", "error"}}).run()
[[nodiscard]] inline Pipeline pipeline(std::vector<std::vector<std::string>> parts) {
  return Pipeline{std::move(parts)};
}

}  // namespace troupe
