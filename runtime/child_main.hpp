// SPDX-License-Identifier: MIT
#pragma once
// Internal. What a new process does before and after the user's function.

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <troupe/runtime/control.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <vector>

namespace troupe::detail {

/// A function that a process can be started with: decodes its arguments and takes the descriptors that they
/// name, runs, returns the exit code.
using Entry = int (*)(std::span<const std::byte> arguments, DescriptorStore& descriptors);

/// Name of the environment variable by which the keeper knows what an actor has started, and its fixed width.
inline constexpr char role_variable[] = "TROUPE_ROLE";
inline constexpr std::size_t role_value_bytes = 40;
/// "TROUPE_ROLE=" + keeper, child and incarnation, padded to the fixed width.
[[nodiscard]] std::string role_assignment(std::uint32_t keeper_pid, supervision::ChildId child,
                                          Incarnation incarnation);

/// Descriptors that come with a control::Start.
struct StartDescriptors {
  OwnedFd channel{};
  OwnedFd folder{};
  std::array<OwnedFd, 3> standard{};
  OwnedFd environment{};
  std::vector<OwnedFd> arguments{};
};

/// In the new process: lifeline, descriptors, folder, environment, signals; says hello; runs the
/// entry; leaves by flush and _exit, so that nothing of its parent's is written or destroyed twice.
/// The caller's descriptors above the channel are closed, but for those of the arguments.
[[noreturn]] void run_child(const control::Start& start, std::span<const std::byte> arguments,
                            StartDescriptors descriptors);

/// The same in a re-executed process: reads control::Start from the channel first.
[[noreturn]] void run_spawned_child();

/// The channel to the keeper of a process that Troupe has started; its descriptor has a fixed number.
[[nodiscard]] const SocketChannel& own_channel();

/// The start that made this process; none in the program itself.
[[nodiscard]] const control::Start* own_start() noexcept;

/// Splits the descriptors that came with `start`. `with_channel`: the first one is the channel.
[[nodiscard]] Result<StartDescriptors> split(const control::Start& start, std::vector<OwnedFd> descriptors,
                                             bool with_channel);

}  // namespace troupe::detail
