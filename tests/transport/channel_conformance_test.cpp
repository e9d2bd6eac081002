// SPDX-License-Identifier: MIT
// Every channel of this layer passes the same suite; other targets add theirs.
#include "transport/channel_cases.hpp"

namespace troupe::test {
namespace {

INSTANTIATE_TEST_SUITE_P(Transport, ChannelConformance,
                         testing::Values(movable_kind("lane", Carrier::shared_memory),
                                         movable_kind("pipe", Carrier::pipe),
                                         movable_kind("stream", Carrier::stream),
                                         movable_kind("packet", Carrier::packet)),
                         channel_name);

}  // namespace
}  // namespace troupe::test
