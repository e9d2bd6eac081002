// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace troupe {

enum class LogLevel { debug, info, warning, error };

/// One line on standard error: time, level, the process's name and pid, text. Written at once, by the
/// caller's thread; the logger is made in the process that uses it, so a fork never copies its lock. Debug
/// lines appear when the environment has TROUPE_DEBUG.
void log(LogLevel level, std::string_view text);

}  // namespace troupe
