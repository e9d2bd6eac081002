// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <troupe/transport/channel.hpp>
#include <utility>
#include <vector>

#include "transport/conformance.hpp"
#include "transport/forked.hpp"
#include "transport/gate.hpp"
#include "transport/kind_of.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::test {

using namespace std::chrono_literals;

/// A channel as the suite sees it.
struct ChannelKind {
  struct Ends {
    std::unique_ptr<Channel> near{};
    /// Makes the far end, in the process that calls it, once. Whoever drops it instead has none.
    std::function<std::unique_ptr<Channel>()> far{};
  };

  std::string name;
  std::function<Ends(std::size_t frame_bytes_max)> create{};
  Exempt exempt{};

  friend std::ostream& operator<<(std::ostream& out, const ChannelKind& kind) { return out << kind.name; }
};

/// The name of a parameter, for INSTANTIATE_TEST_SUITE_P.
inline std::string channel_name(const testing::TestParamInfo<ChannelKind>& info) { return info.param.name; }

/// A kind whose far end travels as parts.
inline ChannelKind movable_kind(std::string name, Carrier carrier) {
  return {.name = std::move(name), .create = [carrier](std::size_t frame_bytes_max) {
            auto ends = create_channel({.carrier = carrier, .frame_bytes_max = frame_bytes_max}).value();
            auto parts = std::make_shared<ChannelParts>(ends.second->take_parts().value());
            return ChannelKind::Ends{std::move(ends.first),
                                     [parts] { return channel_from(std::move(*parts)).value(); }};
          }};
}

class ChannelConformance : public NothingLeft, public testing::WithParamInterface<ChannelKind> {
 protected:
  static constexpr std::size_t frame_bytes_max = std::size_t{64} * 1024;

  void SetUp() override {
    if (const auto reason = exempt_from(GetParam().exempt); !reason.empty()) GTEST_SKIP() << reason;
    create();
  }

  /// New ends; the far one is still to be made.
  void create(std::size_t bytes_max = frame_bytes_max) {
    far.reset();
    near.reset();
    auto ends = GetParam().create(bytes_max);
    near = std::move(ends.near);
    make_far = std::move(ends.far);
  }
  /// The far end in this process.
  Channel& far_here() {
    far = make_far();
    make_far = nullptr;
    return *far;
  }
  /// The far end in a child, which returns what `body` does with it.
  [[nodiscard]] Forked far_in_child(const std::function<int(Channel&)>& body) {
    Forked child{[&] {
      const auto end = make_far();
      return body(*end);
    }};
    make_far = nullptr;
    return child;
  }

  /// What `end` says within a time that is far too long.
  [[nodiscard]] static Result<std::vector<std::byte>> receive(Channel& end) {
    const auto deadline = soon();
    auto frame = receive(end, deadline);
    EXPECT_LT(Clock::now(), deadline) << "it slept through what it then said";
    return frame;
  }
  [[nodiscard]] static Result<std::vector<std::byte>> receive(Channel& end, TimePoint deadline) {
    std::vector<std::byte> buffer;
    auto frame = end.receive(buffer, deadline);
    if (!frame) return failure(std::move(frame));
    return std::vector<std::byte>{frame->bytes.begin(), frame->bytes.end()};
  }
  [[nodiscard]] static Result<void> send(Channel& end, std::span<const std::byte> frame) {
    const auto deadline = soon();
    auto sent = end.send(frame, {}, deadline);
    EXPECT_LT(Clock::now(), deadline) << "it slept through what it then said";
    return sent;
  }
  /// Sends frame after frame, numbered from 0, until there is no room. How many.
  [[nodiscard]] static std::uint64_t fill(Channel& end, std::size_t bytes,
                                          TimePoint deadline = Clock::now()) {
    std::uint64_t sent = 0;
    while (end.send(pattern(sent, bytes), {}, deadline)) ++sent;
    return sent;
  }

  std::unique_ptr<Channel> near;
  std::unique_ptr<Channel> far;
  std::function<std::unique_ptr<Channel>()> make_far;
};

/// A frame that says its own number and length; is_numbered() sees whether it is whole.
inline std::vector<std::byte> numbered(std::uint64_t number, std::size_t bytes) {
  return pattern(number, bytes);
}
inline bool is_numbered(std::span<const std::byte> frame, std::uint64_t number, std::size_t bytes) {
  const auto expected = pattern(number, bytes);
  return std::equal(frame.begin(), frame.end(), expected.begin(), expected.end());
}

}  // namespace troupe::test
