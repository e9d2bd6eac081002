// SPDX-License-Identifier: MIT
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <netinet/in.h>

#include <string>
#include <troupe/transport/syscall.hpp>
#include <troupe/zmq/channel.hpp>

#include "raw_dealer.hpp"
#include "transport/kind_of.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::zmq {
namespace {

using namespace std::chrono_literals;
using test::kind_of;

constexpr Duration hang = 60s;
constexpr Duration short_wait = 300ms;  // for what must not happen

class ZmqSecurity : public test::NothingLeft {
 protected:
  Keys server = Keys::generate().value();
  Keys client = Keys::generate().value();

  std::unique_ptr<AtLeastOnceChannel> listen(const std::string& endpoint = "tcp://127.0.0.1:*") {
    return AtLeastOnceChannel::listen(endpoint, {.security = {.own = server, .allowed = {client.public_key}}})
        .value();
  }
  /// Whether a channel comes about, and what the listening end has been shown by then.
  static std::string tried(AtLeastOnceChannel& end, const Security& security, Duration within = hang) {
    const auto made =
        AtLeastOnceChannel::connect(end.endpoint(), {.security = security}, deadline_in(within));
    const ChannelCounts counts = end.counts();
    if (counts.malformed + counts.strangers != 0) return "something came through";
    std::vector<std::byte> buffer;
    if (end.receive(buffer, Clock::now())) return "a frame came through";
    return kind_of(made);
  }
};

TEST_F(ZmqSecurity, TheRightKeyOnTheListComesIn) {
  const auto ours = listen();
  const Security right{.own = client, .server_key = server.public_key};
  const auto theirs =
      AtLeastOnceChannel::connect(ours->endpoint(), {.security = right}, deadline_in(hang)).value();
  const auto frame = test::pattern(1, 5000);
  ASSERT_TRUE(theirs->send(frame, {}, deadline_in(hang)));
  std::vector<std::byte> buffer;
  ASSERT_TRUE(ours->receive(buffer, deadline_in(hang)));
  EXPECT_EQ(buffer, frame);
}

TEST_F(ZmqSecurity, WithoutAKeyNothingReachesTheDecoder) {
  const auto ours = listen();
  EXPECT_EQ(tried(*ours, {}, short_wait), "timed_out");
}

TEST_F(ZmqSecurity, AKeyThatIsNotOnTheListIsRefusedAndNothingReachesTheDecoder) {
  const auto ours = listen();
  const auto stranger = Keys::generate().value();
  EXPECT_EQ(tried(*ours, {.own = stranger, .server_key = server.public_key}), "refused");
}

TEST_F(ZmqSecurity, WithTheWrongServerKeyNothingReachesTheDecoder) {
  const auto ours = listen();
  const auto other = Keys::generate().value();
  EXPECT_EQ(tried(*ours, {.own = client, .server_key = other.public_key}, short_wait), "timed_out");
}

TEST_F(ZmqSecurity, AClientOfAServerWithoutKeysDoesNotTalkToIt) {
  const auto ours = AtLeastOnceChannel::listen("tcp://127.0.0.1:*").value();
  EXPECT_EQ(tried(*ours, {.own = client, .server_key = server.public_key}, short_wait), "timed_out");
}

TEST_F(ZmqSecurity, OffLoopbackNobodyListensOrConnectsWithoutKeys) {
  for (const char* endpoint :
       {"tcp://0.0.0.0:*", "tcp://*:*", "tcp://192.0.2.1:5555", "tcp://eth0:*", "tcp://lo:*",
        "tcp://localhost:*", "tcp://127.0.0.1.example:*", "tcp://[::]:*", "tcp://0:*"}) {
    const auto made = AtLeastOnceChannel::listen(endpoint);
    ASSERT_EQ(kind_of(made), "refused") << endpoint;
    EXPECT_NE(made.error().text.find("; try "), std::string::npos) << made.error().text;
  }
  EXPECT_EQ(kind_of(AtLeastOnceChannel::connect("tcp://192.0.2.1:5555", {}, deadline_in(hang))), "refused");
}

TEST_F(ZmqSecurity, KeysWithoutAListAreRefusedSinceNobodyCouldCome) {
  EXPECT_EQ(kind_of(AtLeastOnceChannel::listen("tcp://127.0.0.1:*", {.security = {.own = server}})),
            "refused");
}

TEST_F(ZmqSecurity, SaysWhatIsNoEndpoint) {
  for (const char* endpoint : {"", "inproc://x", "pgm://x", "tcp://", "tcp://127.0.0.1", "ipc://",
                               "ipc://relative", "ipc://@abstract", "udp://127.0.0.1:1"})
    EXPECT_EQ(kind_of(AtLeastOnceChannel::listen(endpoint)), "invalid") << endpoint;
}

TEST_F(ZmqSecurity, ListensOnlyInAFolderThatNobodyElseCanEnter) {
  char folder[] = "/tmp/troupe-test-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string endpoint = "ipc://" + std::string{folder} + "/socket";
  for (const mode_t mode : {0755U, 0710U, 0701U, 0777U}) {
    ASSERT_EQ(::chmod(folder, mode), 0);
    EXPECT_EQ(kind_of(AtLeastOnceChannel::listen(endpoint)), "refused") << mode;
  }
  ASSERT_EQ(::chmod(folder, 0700), 0);
  const std::string link = std::string{folder} + "-link";
  ASSERT_EQ(::symlink(folder, link.c_str()), 0);
  EXPECT_EQ(kind_of(AtLeastOnceChannel::listen("ipc://" + link + "/socket")), "refused")
      << "a link can be changed";
  ::unlink(link.c_str());
  EXPECT_EQ(kind_of(AtLeastOnceChannel::listen(endpoint)), "done");
  ::unlink((std::string{folder} + "/socket").c_str());
  EXPECT_EQ(::rmdir(folder), 0);
}

TEST_F(ZmqSecurity, AMessageAboveTheBoundCostsItsSenderTheConnectionAndNobodyMemory) {
  const auto ours = AtLeastOnceChannel::listen("tcp://127.0.0.1:*", {.frame_bytes_max = 1000}).value();
  test::RawDealer raw{ours->endpoint()};
  raw.send({"\0\0", 2});
  ASSERT_TRUE(raw.hears("TZL1")) << "an empty message is answered by who are you";
  raw.send({"\2\0\0\1\0\0\0\0\0", 9});  // the head of a frame of 1 TiB
  EXPECT_FALSE(raw.hears("never"));
  EXPECT_EQ(ours->counts().malformed, 0U) << "it never came so far";

  const auto theirs =
      AtLeastOnceChannel::connect(ours->endpoint(), {.frame_bytes_max = 1000}, deadline_in(hang)).value();
  ASSERT_TRUE(theirs->send(test::pattern(1, 1000), {}, deadline_in(hang)));
  std::vector<std::byte> buffer;
  ASSERT_TRUE(ours->receive(buffer, deadline_in(hang)));
}

TEST_F(ZmqSecurity, EndsThatDifferInWhatAFrameMayHaveDoNotComeTogether) {
  const auto ours = AtLeastOnceChannel::listen("tcp://127.0.0.1:*", {.frame_bytes_max = 1000}).value();
  EXPECT_EQ(
      kind_of(AtLeastOnceChannel::connect(ours->endpoint(), {.frame_bytes_max = 2000}, deadline_in(hang))),
      "refused");
}

TEST_F(ZmqSecurity, NonsenseOfStrangersIsCountedAndHarmsNobody) {
  const auto ours = AtLeastOnceChannel::listen("tcp://127.0.0.1:*").value();
  const auto theirs = AtLeastOnceChannel::connect(ours->endpoint(), {}, deadline_in(hang)).value();
  test::RawDealer raw{ours->endpoint()};
  std::string header{"TZL1\1\2\0\0", 8};  // a hello
  header.resize(40, '\1');
  const std::string nonsense[] = {
      {"\0\3abc", 5},                                   // too short for a header
      {"\1\1a\0\1b", 6},                                // two parts
      std::string{"\0\x28", 2} + std::string(40, 'x'),  // no magic
      std::string{"\0\x28", 2} + header,                // without what is to follow
      std::string{"\0\x58", 2} + header + std::string(48, '\xFF'),
  };
  for (const auto& bytes : nonsense) raw.send(bytes);
  raw.send({"\0\0", 2});
  ASSERT_TRUE(raw.hears("TZL1")) << "so all before it has been looked at";
  EXPECT_EQ(ours->counts().malformed, 4U);
  ASSERT_TRUE(theirs->send(test::pattern(1, 1000), {}, deadline_in(hang)));
  std::vector<std::byte> buffer;
  ASSERT_TRUE(ours->receive(buffer, deadline_in(hang)));
}

}  // namespace
}  // namespace troupe::zmq
