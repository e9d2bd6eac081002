// SPDX-License-Identifier: MIT
#pragma once
// Internal. The process that forks for the keeper.

#include <troupe/transport/socket_channel.hpp>

namespace troupe::detail {

/// Serves control::Start packets from the keeper until it closes the channel. Single-threaded, holds
/// its channel and nothing else, runs no user code. Each child is cloned with CLONE_PARENT, so the
/// keeper is its real parent and reaps it; a start therefore costs the same whatever the keeper holds.
[[noreturn]] void run_zygote(SocketChannel keeper);

}  // namespace troupe::detail
