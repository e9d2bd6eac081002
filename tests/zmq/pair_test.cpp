// SPDX-License-Identifier: MIT
// Both ends at once: one listens and stays, the other moves before its first use, as it is or in a Pipe.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <thread>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/pipe.hpp>
#include <troupe/transport/select.hpp>
#include <troupe/zmq/channel.hpp>
#include <vector>

#include "transport/conformance.hpp"
#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::zmq {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::Gate;
using test::kind_of;
using test::soon;

using Near = Pipe<int, std::string>;
using Far = Pipe<std::string, int>;

struct Kind {
  std::string name;
  Delivery delivery;
  const char* endpoint;
  bool keys = false;

  friend std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }
};

class ZmqPairs : public test::NothingLeft, public testing::WithParamInterface<Kind> {
 protected:
  static constexpr Duration patience = 20s;

  [[nodiscard]] static ChannelPair pair() {
    ChannelOptions options{.frame_bytes_max = 1000};
    if (GetParam().keys) options.security.own = Keys::generate().value();
    if (GetParam().delivery == Delivery::at_most_once)
      return AtMostOnceChannel::create_pair(options, GetParam().endpoint).value();
    return AtLeastOnceChannel::create_pair(options, GetParam().endpoint).value();
  }
  [[nodiscard]] static std::pair<Near, Far> pipe() {
    auto [near, far] = pair();
    return {Near{std::move(near)}, Far{std::move(far)}};
  }
};

INSTANTIATE_TEST_SUITE_P(
    Ways, ZmqPairs,
    testing::Values(Kind{"ipc_at_least_once", Delivery::at_least_once, "ipc://*"},
                    Kind{"tcp_at_least_once", Delivery::at_least_once, "tcp://127.0.0.1:*"},
                    Kind{"tcp_with_keys", Delivery::at_least_once, "tcp://127.0.0.1:*", true},
                    Kind{"ipc_at_most_once", Delivery::at_most_once, "ipc://*"}),
    [](const testing::TestParamInfo<Kind>& one) { return one.param.name; });

/// Answers each number with so many letters, until the other end closes.
int serve(Far& end) {
  for (;;) {
    const auto asked = end.receive(20s);
    if (!asked) return asked.error().kind == ErrorKind::closed ? 0 : 1;
    if (!end.send(std::string(static_cast<std::size_t>(*asked), 'x'))) return 2;
  }
}

TEST_P(ZmqPairs, CarryBothWaysInOneProcess) {
  auto [near, far] = pipe();
  ASSERT_TRUE(far.send("before the other end has said a word", 0ns));
  ASSERT_TRUE(near.send(7, 0ns));
  EXPECT_EQ(near.receive(patience).value(), "before the other end has said a word");
  EXPECT_EQ(far.receive(patience).value(), 7);
}

TEST_P(ZmqPairs, MoveAsParts) {
  auto [near, far] = pipe();
  ASSERT_TRUE(near.send(3)) << "it waits for its reader";
  auto parts = far.take_parts().value();
  EXPECT_EQ(kind_of(far.take_parts()), "refused") << "it has gone";
  EXPECT_EQ(kind_of(far.send("")), "refused");
  Forked child{[&] {
    auto end = Far::from(std::move(parts)).value();
    return serve(end);
  }};
  parts.descriptors.clear();
  EXPECT_EQ(near.receive(patience).value(), "xxx");
  for (int n = 0; n < 100; ++n) {
    ASSERT_TRUE(near.send(n));
    ASSERT_EQ(near.receive(patience).value(), std::string(static_cast<std::size_t>(n), 'x'));
  }
  near.close();
  EXPECT_EQ(kind_of(near.receive(patience)), "closed");
  EXPECT_EQ(child.exit_code(soon()), 0);
}

struct Visit {
  Far end{};
};

TEST_P(ZmqPairs, MoveInAMessageAndOnFromThere) {
  auto [near, far] = pipe();
  auto [out, in] = Pipe<Visit, void>::create({.carrier = Carrier::packet}).value();
  auto [out2, in2] = Pipe<Visit, void>::create({.carrier = Carrier::stream}).value();
  {
    Visit first{std::move(far)};
    ASSERT_TRUE(out.send(first));
    EXPECT_EQ(kind_of(first.end.receive(0ns)), "refused") << "it is on its way";
  }
  {
    const Visit second = in.receive(patience).value();
    ASSERT_TRUE(out2.send(second)) << "it has not been used there";
  }
  {
    auto last = in2.receive(patience).value();
    ASSERT_TRUE(near.send(7));
    EXPECT_EQ(last.end.receive(patience).value(), 7);
    ASSERT_TRUE(last.end.send("seven"));
  }
  EXPECT_EQ(near.receive(patience).value(), "seven");
  EXPECT_EQ(kind_of(near.receive(patience)), "closed");
}

TEST_P(ZmqPairs, DoNotMoveOnceUsedAndTheListeningEndNever) {
  auto [near, far] = pair();
  const auto stays = near->take_parts();
  EXPECT_EQ(kind_of(stays), "refused");
  EXPECT_NE(stays.error().text.find("the end that listens stays"), std::string::npos) << stays.error();
  std::vector<std::byte> buffer;
  EXPECT_EQ(kind_of(far->receive(buffer, Clock::now())), "timed_out");
  const auto used = far->take_parts();
  EXPECT_EQ(kind_of(used), "refused");
  EXPECT_NE(used.error().text.find("before its first use"), std::string::npos) << used.error();
  ASSERT_TRUE(near->send({}, {}, soon())) << "and both are of use as before";
  EXPECT_TRUE(far->receive(buffer, soon()));
}

TEST_P(ZmqPairs, SayDownWhenTheFarEndGetsLostOnItsWay) {
  auto [near, far] = pipe();
  ASSERT_TRUE(near.send(1));
  far.take_parts().value();
  EXPECT_EQ(kind_of(near.send(2)), "down") << "at once";
  EXPECT_EQ(kind_of(near.receive()), "down") << "without a deadline";
}

TEST_P(ZmqPairs, SayClosedWhenTheFarEndIsDestroyedUnused) {
  auto [near, far] = pipe();
  { const Far dropped{std::move(far)}; }
  EXPECT_EQ(kind_of(near.send(2)), "closed") << "at once";
  EXPECT_EQ(kind_of(near.receive()), "closed") << "without a deadline";
}

TEST_P(ZmqPairs, SayDownWhenTheProcessDiesBeforeItUsesItsEnd) {
  auto [near, far] = pipe();
  auto parts = far.take_parts().value();
  const Gate arrived;
  Forked child{[&] {
    const auto end = Far::from(std::move(parts)).value();
    arrived.open();
    return test::wait_to_be_killed();
  }};
  parts.descriptors.clear();
  ASSERT_TRUE(arrived.wait());
  EXPECT_EQ(kind_of(select({near.readable()}, 5ms)), "timed_out");
  child.kill();
  ASSERT_TRUE(select({near.readable()}, patience));
  EXPECT_EQ(kind_of(near.receive(0ns)), "down");
}

TEST_P(ZmqPairs, SayDownWhenTheProcessDiesLater) {
  auto [near, far] = pipe();
  auto parts = far.take_parts().value();
  Forked child{[&] {
    auto end = Far::from(std::move(parts)).value();
    if (!end.receive(patience) || !end.send("here")) return 1;
    return test::wait_to_be_killed();
  }};
  parts.descriptors.clear();
  ASSERT_TRUE(near.send(1));
  EXPECT_EQ(near.receive(patience).value(), "here");
  child.kill();
  EXPECT_EQ(kind_of(near.receive()), "down");
  EXPECT_EQ(kind_of(near.send(2)), "down");
}

TEST_P(ZmqPairs, TellTheFarEndThatNobodyListensAnyMore) {
  auto [near, far] = pipe();
  { const Near dropped{std::move(near)}; }
  EXPECT_EQ(kind_of(far.receive()), "closed") << "at its first use, without a deadline";
  EXPECT_EQ(kind_of(far.send("")), "closed");
}

TEST_P(ZmqPairs, TellTheFarEndThatTheListenerHasDied) {
  auto [tells, hears] = Pipe<Visit, void>::create({.carrier = Carrier::packet}).value();
  auto parts = tells.take_parts().value();
  Forked child{[&] {
    auto told = Pipe<Visit, void>::from(std::move(parts)).value();
    auto [near, far] = pipe();
    {
      const Visit visit{std::move(far)};
      if (!told.send(visit)) return 1;
    }
    return test::wait_to_be_killed();
  }};
  parts.descriptors.clear();
  auto visit = hears.receive(patience).value();
  child.kill();
  EXPECT_EQ(kind_of(visit.end.receive()), "down") << "without a deadline";
  EXPECT_EQ(kind_of(visit.end.send("")), "down");
}

TEST_P(ZmqPairs, AreNotHeldOpenByTheChildOfAFork) {
  auto [near, far] = pipe();
  Forked child{[&near = near, &far = far] {
    if (kind_of(far.send("", 0ns)) != "refused" || kind_of(near.send(1, 0ns)) != "refused") return 1;
    return test::wait_to_be_killed();
  }};
  far.take_parts().value();
  EXPECT_EQ(kind_of(near.receive(patience)), "down");
}

TEST_P(ZmqPairs, AreJoinedByTwoThreadsAtOnce) {
  for (int round = 0; round < 10; ++round) {
    auto [near, far] = pipe();
    std::thread sender{[&far = far] { EXPECT_TRUE(far.send("hello")); }};
    ASSERT_TRUE(near.send(round));
    EXPECT_EQ(far.receive(patience).value(), round);
    EXPECT_EQ(near.receive(patience).value(), "hello");
    sender.join();
  }
}

class ZmqParts : public test::NothingLeft {};

TEST_F(ZmqParts, LetNobodyElseIn) {
  auto [near, far] = AtLeastOnceChannel::create_pair({.frame_bytes_max = 1000}).value();
  auto parts = far->take_parts().value();
  // What a process of the same user can find out, it cannot use: the endpoint stands in the letter.
  std::array<char, 1024> letter{};
  ASSERT_EQ(::pread(parts.descriptors[1].get(), letter.data(), letter.size(), 0), 1024);
  const std::string text{letter.data(), letter.size()};
  const auto begin = text.find("ipc://");
  ASSERT_NE(begin, std::string::npos);
  std::uint64_t length = 0;  // in front of the text, as the codec writes it
  std::memcpy(&length, text.data() + begin - sizeof length, sizeof length);
  const std::string endpoint = text.substr(begin, length);
  EXPECT_EQ(kind_of(AtLeastOnceChannel::connect(endpoint, {.frame_bytes_max = 1000}, soon())), "refused");
  far = channel_from(std::move(parts)).value();
  ASSERT_TRUE(near->send({}, {}, soon()));
  std::vector<std::byte> buffer;
  EXPECT_TRUE(far->receive(buffer, soon())) << "who is awaited still comes";
}

/// The parts of a far end with other bytes in its letter.
ChannelParts with_letter(std::size_t bytes, const std::function<void(std::span<char>)>& damage,
                         bool sealed = true) {
  auto [near, far] = AtLeastOnceChannel::create_pair({.frame_bytes_max = 1000}).value();
  auto parts = far->take_parts().value();
  std::vector<char> letter(bytes);
  EXPECT_GT(::pread(parts.descriptors[1].get(), letter.data(), letter.size(), 0), 0);
  damage(letter);
  parts.descriptors[1] = create_memory("damaged", bytes).value();
  EXPECT_EQ(::pwrite(parts.descriptors[1].get(), letter.data(), bytes, 0), static_cast<ssize_t>(bytes));
  if (sealed) {
    EXPECT_TRUE(seal_for_good(parts.descriptors[1].get()));
  }
  return parts;
}
std::string made_of(ChannelParts parts) { return kind_of(channel_from(std::move(parts))); }

TEST_F(ZmqParts, AreCheckedBeforeTheyAreBelieved) {
  const auto nothing = [](std::span<char>) {};
  EXPECT_EQ(made_of(with_letter(1024, nothing)), "done");
  EXPECT_EQ(made_of(with_letter(1024, nothing, false)), "malformed") << "its writer could change it";
  EXPECT_EQ(made_of(with_letter(1000, nothing)), "malformed");
  EXPECT_EQ(made_of(with_letter(4096, nothing)), "malformed");
  EXPECT_EQ(made_of(with_letter(1024, [](std::span<char> all) { std::ranges::fill(all, '\xFF'); })),
            "malformed");
  EXPECT_EQ(made_of(with_letter(1024, [](std::span<char> all) { std::ranges::fill(all, '\0'); })),
            "malformed");
  EXPECT_EQ(made_of(with_letter(1024,
                                [](std::span<char> all) {
                                  const std::uint32_t length = 1021;
                                  std::memcpy(all.data(), &length, sizeof length);
                                })),
            "malformed");
  auto parts = with_letter(1024, nothing);
  parts.frame_bytes_max = 2000;
  EXPECT_EQ(made_of(std::move(parts)), "malformed");
  parts = with_letter(1024, nothing);
  parts.descriptors.pop_back();
  EXPECT_EQ(made_of(std::move(parts)), "malformed");
  EXPECT_EQ(made_of({Carrier::zeromq, 1000, {}}), "malformed");
}

TEST_F(ZmqParts, MakeAnEndOrNoneWhateverByteOfThemIsDamaged) {
  int refused = 0;
  for (std::size_t at = 0; at < 220; ++at) {
    auto end = channel_from(with_letter(1024, [&](std::span<char> all) { all[at] ^= '\x55'; }));
    if (!end) {
      ++refused;
      continue;
    }
    // Whoever made it is gone, and the line says so.
    std::vector<std::byte> buffer;
    EXPECT_FALSE((*end)->receive(buffer, Clock::now()));
  }
  EXPECT_GT(refused, 50);
}

TEST_F(ZmqParts, AreNotMadeByTheTransportItself) {
  const auto made = create_channel({.carrier = Carrier::zeromq});
  EXPECT_EQ(kind_of(made), "refused");
  EXPECT_NE(made.error().text.find("create_pair"), std::string::npos) << made.error();
}

}  // namespace
}  // namespace troupe::zmq
