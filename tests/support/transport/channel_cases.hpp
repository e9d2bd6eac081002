// SPDX-License-Identifier: MIT
#pragma once
// The conformance suite of channels: the contract in transport/channel.hpp, bullet by bullet.
//
// A test program includes this file once and names the channels that are to pass:
//
//   INSTANTIATE_TEST_SUITE_P(My, ChannelConformance, testing::Values(ChannelKind{…}), channel_name);
//
// sh scripts/conformance prints the table of docs/channels.md.

#include "transport/channel_cases/deaths.hpp"     // IWYU pragma: export
#include "transport/channel_cases/ends.hpp"       // IWYU pragma: export
#include "transport/channel_cases/fixture.hpp"    // IWYU pragma: export
#include "transport/channel_cases/frames.hpp"     // IWYU pragma: export
#include "transport/channel_cases/resources.hpp"  // IWYU pragma: export
#include "transport/channel_cases/waits.hpp"      // IWYU pragma: export
