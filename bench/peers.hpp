// SPDX-License-Identifier: MIT
#pragma once
// Other people's programs, measured as they are: each figure comes from a process of its own.

#include <string>
#include <vector>

namespace troupe::bench::peers {

/// What prints its figure: a program of bench/peers/ and how it is called.
enum class Peer { zeromq, caf, erlang, python };

/// The figure that the peer prints for these arguments; see the head of its file. Throws if it is not there
/// or does not answer: a peer that is missing is an error, and the text says what to install.
[[nodiscard]] double figure(Peer peer, const std::vector<std::string>& arguments);

}  // namespace troupe::bench::peers
