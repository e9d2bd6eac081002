// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace troupe {

/// First line of main. In a process that Troupe has started from this binary it never
/// returns: such a process serves the library instead of running main again. In the
/// program itself it only remembers `argv[0]`. A start from a program whose main did
/// not call it is refused. With GoogleTest: before RUN_ALL_TESTS().
void init(int argc, char** argv);

namespace detail {

[[nodiscard]] bool initialised() noexcept;
[[nodiscard]] std::string_view program_name() noexcept;

// argv[1] of a re-executed process: what it is to be.
inline constexpr char keeper_mark[] = "troupe:keeper";
inline constexpr char child_mark[] = "troupe:child";

}  // namespace detail
}  // namespace troupe
