// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <variant>

namespace verify {

inline constexpr unsigned workers_max = 240;  ///< a mailbox hears at most 256 senders

/// What the command line asks for, checked.
struct Options {
  unsigned workers = 1;                   ///< default: the processors this process may use
  std::string root = "/";                 ///< a folder
  std::optional<std::string> manifest{};  ///< "-" is standard input; none: dpkg's lists
  double chaos_per_second = 0;            ///< --chaos
  std::uint64_t deaths = 0;
  double seconds_min = 0;
  bool against_md5sum = false;
  std::uint64_t seed = 0;  ///< drawn at random unless given
  bool seed_given = false;
  bool json = false;
  bool quiet = false;
};

/// The process is to end now, having said why: 0 after --help, 2 after a usage error.
struct ExitNow {
  int code = 0;
};

/// Reads the command line. Help goes to `out`; of several errors the first goes to `err`, as
/// "verify: what: why; try …".
[[nodiscard]] std::variant<Options, ExitNow> parse(int argc, char** argv, std::ostream& out,
                                                   std::ostream& err);

/// The processors this process may run on, at least 1.
[[nodiscard]] unsigned process_cpu_count() noexcept;

}  // namespace verify
