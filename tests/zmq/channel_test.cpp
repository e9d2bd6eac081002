// SPDX-License-Identifier: MIT
#include <troupe/zmq/channel.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

#include "listening_child.hpp"
#include "places_folder.hpp"
#include "transport/forked.hpp"
#include "transport/kind_of.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::zmq {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::kind_of;
using test::ListeningChild;
using test::pattern;

constexpr Duration hang = 60s;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

std::string text(Channel& channel, Duration within = hang) {
  std::vector<std::byte> buffer;
  const auto frame = channel.receive(buffer, deadline_in(within));
  if (!frame) return kind_of(frame);
  return {reinterpret_cast<const char*>(frame->bytes.data()), frame->bytes.size()};
}

Result<void> send(Channel& channel, std::string_view words, Duration within = hang) {
  return channel.send(bytes_of(words), {}, deadline_in(within));
}

/// Of the socket of an ipc endpoint.
std::filesystem::path folder_of(const std::string& endpoint) {
  return std::filesystem::path{endpoint.substr(std::string_view{"ipc://"}.size())}.parent_path();
}

template <class ChannelType>
class ZmqChannels : public test::NothingLeft {
 protected:
  using End = std::unique_ptr<ChannelType>;

  void join(const std::string& endpoint, const ChannelOptions& options = {}) {
    ours = ChannelType::listen(endpoint, options).value();
    theirs = ChannelType::connect(ours->endpoint(), options, deadline_in(hang)).value();
  }

  End ours;
  End theirs;
};

using Both = ::testing::Types<AtMostOnceChannel, AtLeastOnceChannel>;
TYPED_TEST_SUITE(ZmqChannels, Both);

TYPED_TEST(ZmqChannels, CarriesFramesBothWaysInOrderOverIpcAndTcp) {
  for (const char* endpoint : {"ipc://*", "tcp://127.0.0.1:*"}) {
    this->join(endpoint);
    for (const char* words : {"one", "", "three"}) {
      ASSERT_TRUE(send(*this->ours, words));
      ASSERT_TRUE(send(*this->theirs, words));
    }
    for (const char* words : {"one", "", "three"}) {
      EXPECT_EQ(text(*this->theirs), words);
      EXPECT_EQ(text(*this->ours), words);
    }
  }
}

TYPED_TEST(ZmqChannels, CarriesTheLargestFrameAndRefusesALongerOne) {
  this->join("ipc://*", {.frame_bytes_max = 1U << 20U});
  const auto largest = pattern(3, 1U << 20U);
  ASSERT_TRUE(this->ours->send(largest, {}, deadline_in(hang)));
  std::vector<std::byte> buffer;
  ASSERT_TRUE(this->theirs->receive(buffer, deadline_in(hang)));
  EXPECT_EQ(buffer, largest);
  EXPECT_EQ(kind_of(this->ours->send(std::vector<std::byte>((1U << 20U) + 1), {}, deadline_in(hang))),
            "invalid");
}

TYPED_TEST(ZmqChannels, TimesOutWhenFullAndHasSentNothing) {
  this->join("ipc://*", {.window_frames_max = 4});
  int sent = 0;
  auto deadline = deadline_in(20ms);
  auto result = Result<void>{};
  while ((result = this->ours->send(bytes_of(std::to_string(sent)), {}, deadline))) ++sent;
  EXPECT_EQ(kind_of(result), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
  EXPECT_EQ(sent, 4);
  for (int i = 0; i < sent; ++i) EXPECT_EQ(text(*this->theirs), std::to_string(i));
  deadline = deadline_in(20ms);
  std::vector<std::byte> buffer;
  EXPECT_EQ(kind_of(this->theirs->receive(buffer, deadline)), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
}

TYPED_TEST(ZmqChannels, HasRoomAgainAfterASingleFrameWasTaken) {
  this->join("ipc://*", {.window_frames_max = 64});
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(send(*this->ours, "x"));
    while (send(*this->ours, "x", 0ns)) {}
    ASSERT_EQ(text(*this->theirs), "x");
    ASSERT_TRUE(send(*this->ours, "y"));
    while (text(*this->theirs) != "y") {}
  }
}

TYPED_TEST(ZmqChannels, BoundsBytesAsWell) {
  this->join("ipc://*", {.frame_bytes_max = 4096, .window_frames_max = 64, .window_bytes_max = 10'000});
  int sent = 0;
  while (this->ours->send(pattern(1, 4096), {}, deadline_in(20ms))) ++sent;
  EXPECT_EQ(sent, 2);
}

TYPED_TEST(ZmqChannels, IsClosedOnceEverythingHasBeenReceivedAndTheOtherDirectionGoesOn) {
  this->join("ipc://*");
  ASSERT_TRUE(send(*this->ours, "last words"));
  this->ours->close();
  EXPECT_EQ(kind_of(send(*this->ours, "more")), "closed");
  EXPECT_EQ(text(*this->theirs), "last words");
  EXPECT_EQ(text(*this->theirs), "closed");
  EXPECT_EQ(text(*this->theirs), "closed");
  ASSERT_TRUE(send(*this->theirs, "an answer"));
  EXPECT_EQ(text(*this->ours), "an answer");
}

TYPED_TEST(ZmqChannels, IsClosedBothWaysWhenAnEndIsDestroyed) {
  this->join("ipc://*");
  ASSERT_TRUE(send(*this->ours, "last words"));
  this->ours.reset();
  EXPECT_EQ(kind_of(send(*this->theirs, "hello?")), "closed");
  EXPECT_EQ(text(*this->theirs), "last words");
  EXPECT_EQ(text(*this->theirs), "closed");
}

TYPED_TEST(ZmqChannels, SaysDownWhenThePeersProcessIsKilledAfterAllThatHadArrived) {
  for (const char* endpoint : {"ipc://*", "tcp://127.0.0.1:*"}) {
    this->ours = TypeParam::listen(endpoint).value();
    Forked child{[&] {
      auto end = TypeParam::connect(this->ours->endpoint(), {}, deadline_in(hang)).value();
      if (!send(*end, "one") || !send(*end, "two") || text(*end) != "got two") return 1;
      ::kill(::getpid(), SIGKILL);
      return 2;
    }};
    EXPECT_EQ(text(*this->ours), "one");
    EXPECT_EQ(text(*this->ours), "two");
    ASSERT_TRUE(send(*this->ours, "got two"));
    ASSERT_TRUE(child.wait(deadline_in(hang)));
    EXPECT_EQ(text(*this->ours), "down");
    EXPECT_EQ(kind_of(send(*this->ours, "hello?")), "down");
  }
}

TYPED_TEST(ZmqChannels, TheEndThatConnectedSeesTheOtherDieAndRemovesItsFolder) {
  const ListeningChild listens{[](const auto& tell) {
    auto end = TypeParam::listen("ipc://*").value();
    tell(end->endpoint());
    static_cast<void>(text(*end));
    return ::kill(::getpid(), SIGKILL);
  }};
  const auto folder = folder_of(listens.endpoint);
  EXPECT_EQ(std::filesystem::status(folder).permissions(), std::filesystem::perms::owner_all);
  this->ours = TypeParam::connect(listens.endpoint, {}, deadline_in(hang)).value();
  ASSERT_TRUE(send(*this->ours, "die"));
  EXPECT_EQ(text(*this->ours), "down");
  EXPECT_TRUE(std::filesystem::exists(folder));
  this->ours.reset();
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TYPED_TEST(ZmqChannels, AFolderThatNobodyIsLeftForGoesWithTheNextOneThatIsMade) {
  const test::PlacesFolder places;
  ListeningChild listens{[](const auto& tell) {
    auto end = TypeParam::listen("ipc://*").value();
    tell(end->endpoint());
    return ::kill(::getpid(), SIGKILL);
  }};
  const auto folder = folder_of(listens.endpoint);
  ASSERT_TRUE(listens.child.wait(deadline_in(hang)));
  EXPECT_TRUE(std::filesystem::exists(folder));
  this->ours = TypeParam::listen("ipc://*").value();
  EXPECT_FALSE(std::filesystem::exists(folder));
  const auto own = folder_of(this->ours->endpoint());
  EXPECT_TRUE(std::filesystem::exists(own));
  this->ours.reset();
  EXPECT_FALSE(std::filesystem::exists(own));
}

TYPED_TEST(ZmqChannels, AForkedChildIsRefusedTheCopyAndHasAChannelOfItsOwn) {
  this->join("ipc://*");
  Forked child{[&] {
    std::vector<std::byte> buffer;
    if (kind_of(send(*this->ours, "no")) != "refused") return 1;
    if (kind_of(this->theirs->receive(buffer, deadline_in(hang))) != "refused") return 2;
    this->ours->close();
    this->ours.reset();
    auto own = TypeParam::listen("ipc://*").value();
    auto peer = TypeParam::connect(own->endpoint(), {}, deadline_in(hang)).value();
    if (!send(*own, "mine") || text(*peer) != "mine") return 3;
    return 0;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(hang)), 0);
  ASSERT_TRUE(send(*this->ours, "still ours"));
  EXPECT_EQ(text(*this->theirs), "still ours");
}

TYPED_TEST(ZmqChannels, TheCopyInAForkedChildDoesNotHideTheDeathOfTheOriginal) {
  this->ours = TypeParam::listen("tcp://127.0.0.1:*").value();
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const OwnedFd out{pipe_ends[0]};
  OwnedFd in{pipe_ends[1]};
  Forked child{[&] {
    auto end = TypeParam::connect(this->ours->endpoint(), {}, deadline_in(hang)).value();
    in.reset();
    // It outlives the original, with all that it has copied, until the test is over.
    if (::fork() == 0) {
      char nothing = 0;
      static_cast<void>(::read(out.get(), &nothing, 1));
      ::_exit(0);
    }
    if (!send(*end, "I have a child")) return 1;
    static_cast<void>(text(*end));
    ::kill(::getpid(), SIGKILL);
    return 2;
  }};
  EXPECT_EQ(text(*this->ours), "I have a child");
  ASSERT_TRUE(send(*this->ours, "die"));
  EXPECT_EQ(text(*this->ours), "down");
}

TYPED_TEST(ZmqChannels, ItsSignIsReadableWhileReceiveWouldNotWait) {
  this->join("ipc://*");
  const Waitable ready = this->theirs->readable();
  EXPECT_EQ(kind_of(select({ready}, 0ns)), "timed_out");
  ASSERT_TRUE(send(*this->ours, "x"));
  ASSERT_TRUE(select({ready}, hang));
  EXPECT_EQ(text(*this->theirs, 0ns), "x");
  EXPECT_EQ(kind_of(select({ready}, 0ns)), "timed_out");
  this->ours->close();
  ASSERT_TRUE(select({ready}, hang));
  EXPECT_EQ(text(*this->theirs, 0ns), "closed");
}

TYPED_TEST(ZmqChannels, TakesNoDescriptorAndLeavesClosedStandardOnesFree) {
  Forked child{[] {
    for (int fd = 0; fd <= 2; ++fd) ::close(fd);
    auto near = TypeParam::listen("tcp://127.0.0.1:*").value();
    auto far = TypeParam::connect(near->endpoint(), {}, deadline_in(hang)).value();
    const auto open = test::Holdings::now().descriptors.size();
    for (int i = 0; i < 2000; ++i)
      if (!send(*near, "x") || text(*far) != "x") return 1;
    for (int fd = 0; fd <= 2; ++fd)
      if (::fcntl(fd, F_GETFD) != -1) return 2;
    return test::Holdings::now().descriptors.size() == open ? 0 : 3;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(hang)), 0);
}

TYPED_TEST(ZmqChannels, TellsASecondPeerThatItHasOne) {
  this->join("ipc://*");
  const auto second = TypeParam::connect(this->ours->endpoint(), {}, deadline_in(hang));
  ASSERT_EQ(kind_of(second), "refused");
  EXPECT_NE(second.error().text.find("already"), std::string::npos) << second.error().text;
  ASSERT_TRUE(send(*this->ours, "x"));
  EXPECT_EQ(text(*this->theirs), "x");
}

TYPED_TEST(ZmqChannels, ConnectsBeforeAnybodyListensAndTimesOutNotBeforeTheDeadline) {
  this->ours = TypeParam::listen("ipc://*").value();
  const std::string endpoint = this->ours->endpoint() + "-later";
  const auto deadline = deadline_in(20ms);
  EXPECT_EQ(kind_of(TypeParam::connect(endpoint, {}, deadline)), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
  std::thread later{[&] { this->theirs = TypeParam::connect(endpoint, {}, deadline_in(hang)).value(); }};
  const auto listens = TypeParam::listen(endpoint).value();
  later.join();
  ASSERT_TRUE(send(*listens, "x"));
  EXPECT_EQ(text(*this->theirs), "x");
  this->theirs.reset();
  ::unlink(endpoint.substr(6).c_str());
}

class ZmqChannelEnds : public test::NothingLeft {};

TEST_F(ZmqChannelEnds, RefusesAPeerThatMakesAnotherPromise) {
  const auto ours = AtMostOnceChannel::listen("ipc://*").value();
  EXPECT_EQ(kind_of(AtLeastOnceChannel::connect(ours->endpoint(), {}, deadline_in(hang))), "refused");
}

}  // namespace
}  // namespace troupe::zmq
