// SPDX-License-Identifier: MIT
#pragma once
// Internal. The only place that executes a program: the program's own binary, in another part.

#include <string>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <vector>

namespace troupe::detail {

struct LaunchedKeeper {
  SocketChannel channel{};
  OwnedFd pidfd{};
  int pid = 0;
  std::string threads{};  ///< ids of threads that static constructors have started
};

/// Starts this program's keeper: the same binary, executed fresh, forked twice, so that a program that waits
/// for its children never sees it. `refused` if init() was not called or the binary is not the one that runs
/// here.
[[nodiscard]] Result<LaunchedKeeper> launch_keeper();

/// Executes this binary again with `mark` as argv[1]; `channel` becomes its descriptor 3, the rest is closed,
/// 0 to 2 are /dev/null. Returns the pid: a child of the caller, to be reaped by it.
[[nodiscard]] Result<int> execute_self(const char* mark, const std::string& name, int channel,
                                       const std::vector<std::string>& environment);

/// The environment of this process, without the variable `without`.
[[nodiscard]] std::vector<std::string> environment(const char* without);

}  // namespace troupe::detail
