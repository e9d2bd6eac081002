// SPDX-License-Identifier: MIT
#pragma once
// Internal. From words and options to a running program.

#include <array>
#include <string>
#include <troupe/runtime/subprocess.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <vector>

namespace troupe::detail {

struct StartedProgram {
  int pid = 0;
  OwnedFd pidfd{};
  OwnedFd input{};  ///< our ends of its pipes, which do not block; empty where there is none
  OwnedFd output{};
  OwnedFd error{};
};

/// As Subprocess::start promises.
[[nodiscard]] Result<StartedProgram> start_program(const std::vector<std::string>& words,
                                                   const SubprocessOptions& options);

/// The name in reports: options.name, or the program's without its folder.
[[nodiscard]] std::string name_of_program(const std::vector<std::string>& words,
                                          const SubprocessOptions& options);

}  // namespace troupe::detail
