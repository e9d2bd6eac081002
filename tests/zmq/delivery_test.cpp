// SPDX-License-Identifier: MIT
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <troupe/zmq/channel.hpp>
#include <troupe/zmq/stream.hpp>
#include <troupe/zmq/wire.hpp>

#include "breaking_relay.hpp"
#include "raw_dealer.hpp"
#include "transport/forked.hpp"
#include "transport/kind_of.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::zmq {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::kind_of;

constexpr Duration hang = 60s;

std::vector<std::byte> numbered(std::uint64_t number, std::size_t bytes) {
  std::vector<std::byte> frame(std::max(bytes, sizeof number), static_cast<std::byte>(number));
  std::memcpy(frame.data(), &number, sizeof number);
  return frame;
}

struct Seen {
  std::uint64_t frames = 0;
  std::uint64_t missing = 0;
  std::uint64_t wrong = 0;  ///< torn, twice or out of order
  std::string end{};
};

/// Receives until the end and looks at each frame.
Seen receive_all(Channel& channel) {
  Seen seen;
  std::vector<std::byte> buffer;
  for (std::uint64_t next = 0;;) {
    const auto frame = channel.receive(buffer, deadline_in(hang));
    if (!frame) {
      seen.end = kind_of(frame);
      return seen;
    }
    std::uint64_t number = 0;
    std::memcpy(&number, buffer.data(), std::min(sizeof number, buffer.size()));
    if (number < next || buffer != numbered(number, buffer.size())) ++seen.wrong;
    seen.missing += number - std::min(number, next);
    next = number + 1;
    ++seen.frames;
  }
}

class ZmqDelivery : public test::NothingLeft {
 protected:
  struct Exchanged {
    Seen ours{};
    Seen theirs{};
    ChannelCounts counts{};  ///< of our end
  };
  /// Frames in both directions while their connection breaks `breaks` times.
  template <class ChannelType>
  static Exchanged exchange_over_breaks(unsigned seed, int breaks) {
    Exchanged result;
    constexpr std::uint64_t frames = 3000;
    auto ours = ChannelType::listen("tcp://127.0.0.1:*").value();
    test::BreakingRelay relay{ours->endpoint(), seed, breaks};
    auto theirs = ChannelType::connect(relay.endpoint(), {}, deadline_in(hang)).value();
    const auto send_all = [](Channel& channel) {
      for (std::uint64_t i = 0; i < frames; ++i)
        if (!channel.send(numbered(i, 1000), {}, deadline_in(hang))) return;
      channel.close();
    };
    std::thread one{[&] { send_all(*ours); }};
    std::thread other{[&] { send_all(*theirs); }};
    std::thread reads{[&] { result.theirs = receive_all(*theirs); }};
    result.ours = receive_all(*ours);
    for (auto* thread : {&one, &other, &reads}) thread->join();
    EXPECT_EQ(relay.breaks_left(), 0) << "the test is to break it that often";
    for (const Seen& seen : {result.ours, result.theirs}) EXPECT_EQ(seen.frames + seen.missing, frames);
    result.counts = ours->counts();
    return result;
  }
};

TEST_F(ZmqDelivery, AtLeastOnceLosesNothingAndDoublesNothingOverBrokenConnections) {
  std::uint64_t again = 0;
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const auto [ours, theirs, counts] = exchange_over_breaks<AtLeastOnceChannel>(seed, 20);
    for (const auto& seen : {ours, theirs}) {
      EXPECT_EQ(seen.missing, 0U);
      EXPECT_EQ(seen.wrong, 0U);
      EXPECT_EQ(seen.end, "closed");
    }
    again += counts.duplicates;
  }
  std::printf(
      "at least once: 100 broken connections, 30,000 frames, 0 lost, 0 twice; %llu came again and were "
      "dropped\n",
      static_cast<unsigned long long>(again));
}

TEST_F(ZmqDelivery, AtMostOnceDoublesNothingAndCountsWhatItLosesOverBrokenConnections) {
  std::uint64_t lost = 0;
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const auto [ours, theirs, counts] = exchange_over_breaks<AtMostOnceChannel>(seed, 10);
    for (const auto& seen : {ours, theirs}) {
      EXPECT_EQ(seen.wrong, 0U);
      EXPECT_EQ(seen.end, "closed") << "its end is told whatever is lost";
    }
    EXPECT_EQ(counts.lost, ours.missing);
    lost += ours.missing + theirs.missing;
  }
  std::printf("at most once: 50 broken connections, 30,000 frames, %llu lost and counted, 0 twice\n",
              static_cast<unsigned long long>(lost));
}

TEST_F(ZmqDelivery, SixteenSendersThatCloseCleanlyLoseNothing) {
  constexpr int rounds = 4;
  constexpr std::size_t senders = 16;
  constexpr std::uint64_t frames = 400;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::unique_ptr<AtLeastOnceChannel>> ends;
    std::vector<std::string> endpoints;
    for (std::size_t i = 0; i < senders; ++i) {
      ends.push_back(AtLeastOnceChannel::listen("ipc://*", {.window_frames_max = 16}).value());
      endpoints.push_back(ends.back()->endpoint());
    }
    std::vector<Forked> children;
    for (const auto& endpoint : endpoints)
      children.emplace_back([&endpoint] {
        auto end =
            AtLeastOnceChannel::connect(endpoint, {.window_frames_max = 16}, deadline_in(hang)).value();
        for (std::uint64_t i = 0; i < frames; ++i)
          if (!end->send(numbered(i, 1024), {}, deadline_in(hang))) return 1;
        end->close();
        ::_exit(0);  // without another word: no destructor runs
      });
    for (auto& end : ends) {
      const Seen seen = receive_all(*end);
      EXPECT_EQ(seen.frames, frames);
      EXPECT_EQ(seen.missing + seen.wrong, 0U);
      EXPECT_EQ(seen.end, "closed");
    }
    for (auto& child : children) EXPECT_EQ(child.exit_code(deadline_in(hang)), 0);
  }
}

/// A connecting end without a link behind it, of another machine: it says what it likes.
class RawEnd {
 public:
  RawEnd(const std::string& endpoint, Delivery delivery, std::uint64_t received = 0)
      : raw_{endpoint}, received_{received} {
    const ChannelOptions options{};
    const wire::Hello hello{.machine = 0,
                            .started = 1,
                            .pid = 1,
                            .delivery = static_cast<std::uint32_t>(delivery),
                            .frame_bytes_max = options.frame_bytes_max,
                            .window_bytes_max = options.window_bytes_max,
                            .window_frames_max = static_cast<std::uint32_t>(options.window_frames_max),
                            .zero = 0};
    say(wire::ChannelKind::hello, 0, wire::bytes_of(hello));
    if (!raw_.hears("TZL1\1\3")) throw Failure{{ErrorKind::refused, 0, "no welcome"}};
  }
  void say(wire::ChannelKind kind, std::uint64_t sequence, std::span<const std::byte> body = {}) const {
    constexpr std::uint64_t session = 5;
    const wire::ChannelHeader header{wire::channel_magic, wire::version, kind, 0, session, sequence,
                                     received_,           received_};
    raw_.say(wire::bytes_of(header), body);
  }
  void send(std::uint64_t sequence, std::string_view text) const {
    say(wire::ChannelKind::data, sequence, std::as_bytes(std::span{text}));
  }
  [[nodiscard]] bool hears(std::string_view what) { return raw_.hears(what); }
  [[nodiscard]] bool has_heard(std::string_view what) const { return raw_.has_heard(what); }

 private:
  test::RawDealer raw_;
  std::uint64_t received_;  ///< and taken
};

/// It waits for no word of a peer that says none.
ChannelOptions to_raw() { return {.close_within = 0ms}; }

std::string text(Channel& channel) {
  std::vector<std::byte> buffer;
  const auto frame = channel.receive(buffer, deadline_in(hang));
  if (!frame) return kind_of(frame);
  return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
}

TEST_F(ZmqDelivery, SendsAgainWhatABrokenConnectionHasLostAndNoMore) {
  const auto ours = AtLeastOnceChannel::listen("tcp://127.0.0.1:*", to_raw()).value();
  const auto send = [&](std::string_view words) {
    ASSERT_TRUE(ours->send(std::as_bytes(std::span{words}), {}, deadline_in(hang)));
  };
  {
    RawEnd first{ours->endpoint(), Delivery::at_least_once};
    for (const char* words : {"frame one", "frame two", "frame three"}) send(words);
    ASSERT_TRUE(first.hears("frame three"));
  }
  RawEnd again{ours->endpoint(), Delivery::at_least_once, 1};
  send("frame four");
  ASSERT_TRUE(again.hears("frame four"));
  EXPECT_TRUE(again.has_heard("frame two"));
  EXPECT_TRUE(again.has_heard("frame three"));
  EXPECT_FALSE(again.has_heard("frame one")) << "it said that it has this one";
}

template <Delivery delivery>
void send_twice() {
  const auto ours = ZmqChannel<delivery>::listen("tcp://127.0.0.1:*", to_raw()).value();
  const RawEnd first{ours->endpoint(), delivery};
  first.send(1, "one");
  first.send(1, "one");
  first.send(2, "two");
  EXPECT_EQ(text(*ours), "one");
  EXPECT_EQ(text(*ours), "two");
  const RawEnd again{ours->endpoint(), delivery};  // it has not heard that two came
  again.send(2, "two");
  again.send(3, "three");
  again.say(wire::ChannelKind::end, 4);
  EXPECT_EQ(text(*ours), "three");
  EXPECT_EQ(text(*ours), "closed");
  EXPECT_EQ(ours->counts().duplicates, 2U);
}

TEST_F(ZmqDelivery, TakesAFrameOnceThatComesTwice) {
  send_twice<Delivery::at_most_once>();
  send_twice<Delivery::at_least_once>();
}

TEST_F(ZmqDelivery, CountsWhatAPeerSaysThatItHasLost) {
  const auto ours = AtMostOnceChannel::listen("tcp://127.0.0.1:*", to_raw()).value();
  const RawEnd peer{ours->endpoint(), Delivery::at_most_once};
  peer.send(1, "one");
  peer.say(wire::ChannelKind::skip, 3);
  peer.send(4, "four");
  peer.say(wire::ChannelKind::end, 5);
  EXPECT_EQ(text(*ours), "one");
  EXPECT_EQ(text(*ours), "four");
  EXPECT_EQ(text(*ours), "closed");
  EXPECT_EQ(ours->counts().lost, 2U);
}

TEST_F(ZmqDelivery, AnEndDestroyedBesideAStoppedPeerWaitsNoLongerThanItsBound) {
  auto ours = AtLeastOnceChannel::listen("ipc://*", {.close_within = 50ms}).value();
  const std::string endpoint = ours->endpoint();
  Forked child{[&] {
    auto end = AtLeastOnceChannel::connect(endpoint, {}, deadline_in(hang)).value();
    std::vector<std::byte> buffer;
    static_cast<void>(end->receive(buffer, deadline_in(hang)));
    ::raise(SIGSTOP);
    return 0;
  }};
  ASSERT_TRUE(ours->send(numbered(0, 8), {}, deadline_in(hang)));
  int status = 0;
  ASSERT_EQ(::waitpid(child.pid(), &status, WUNTRACED), child.pid());
  ASSERT_TRUE(ours->send(numbered(1, 8), {}, deadline_in(hang)));
  const auto begun = Clock::now();
  ours.reset();
  EXPECT_GE(Clock::now() - begun, 50ms);
}

}  // namespace
}  // namespace troupe::zmq
