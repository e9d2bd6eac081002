// SPDX-License-Identifier: MIT
// Types on a channel over ZeroMQ. What is below them is channel_conformance_test.cpp's.
#include <troupe/transport/pipe.hpp>

#include <unistd.h>

#include <cstring>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <thread>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/select.hpp>
#include <troupe/zmq/channel.hpp>
#include <vector>

#include "transport/conformance.hpp"
#include "transport/forked.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::zmq {
namespace {

using namespace std::chrono_literals;
using test::Forked;
using test::Gate;
using test::kind_of;
using test::soon;

struct Request {
  int number = 0;
  std::string text{};
};
struct Response {
  std::vector<int> digits{};
  friend bool operator==(const Response&, const Response&) = default;
};
using Near = Pipe<Request, Response>;
using Far = Pipe<Response, Request>;

struct Kind {
  std::string name;
  Delivery delivery;
  const char* endpoint;

  friend std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }
};

class ZmqPipe : public test::NothingLeft, public testing::WithParamInterface<Kind> {
 protected:
  static constexpr Duration patience = 20s;

  /// The end that listens; the other is found() at `endpoint`, in whatever process.
  std::unique_ptr<Channel> listening() {
    if (GetParam().delivery == Delivery::at_most_once) return listening_of<AtMostOnceChannel>();
    return listening_of<AtLeastOnceChannel>();
  }
  [[nodiscard]] std::unique_ptr<Channel> connected(const std::string& to) const {
    if (GetParam().delivery == Delivery::at_most_once)
      return AtMostOnceChannel::connect(to, options, soon()).value();
    return AtLeastOnceChannel::connect(to, options, soon()).value();
  }

  const ChannelOptions options{.frame_bytes_max = 1000};
  std::string endpoint;

 private:
  template <class End>
  std::unique_ptr<Channel> listening_of() {
    auto end = End::listen(GetParam().endpoint, options).value();
    endpoint = end->endpoint();
    return end;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Ways, ZmqPipe,
    testing::Values(Kind{"ipc_at_least_once", Delivery::at_least_once, "ipc://*"},
                    Kind{"tcp_at_least_once", Delivery::at_least_once, "tcp://127.0.0.1:*"},
                    Kind{"ipc_at_most_once", Delivery::at_most_once, "ipc://*"},
                    Kind{"tcp_at_most_once", Delivery::at_most_once, "tcp://127.0.0.1:*"}),
    [](const testing::TestParamInfo<Kind>& one) { return one.param.name; });

/// Answers each request with its number repeated, until the other end closes.
int serve(Far& end) {
  for (;;) {
    const auto request = end.receive(20s);
    if (!request) return request.error().kind == ErrorKind::closed ? 0 : 1;
    if (!end.send({std::vector<int>(request->text.size(), request->number)})) return 2;
  }
}

TEST_P(ZmqPipe, CarriesOneTypeEachWay) {
  Near near{listening()};
  Far far{connected(endpoint)};
  ASSERT_TRUE(near.send({7, "seven"}));
  const auto request = far.receive(patience).value();
  EXPECT_EQ(request.number, 7);
  EXPECT_EQ(request.text, "seven");
  ASSERT_TRUE(far.send({{1, 2, 3}}));
  EXPECT_EQ(near.receive(patience).value(), (Response{{1, 2, 3}}));
}

TEST_P(ZmqPipe, HasItsOtherEndInWhateverProcessGetsTheEndpoint) {
  Near near{listening()};
  auto [tells, hears] = Pipe<std::string, void>::create({.carrier = Carrier::stream}).value();
  auto parts = hears.take_parts().value();
  Forked child{[&] {
    auto told = Pipe<void, std::string>::from(std::move(parts)).value();
    Far end{connected(told.receive(patience).value())};
    return serve(end);
  }};
  parts.descriptors.clear();
  ASSERT_TRUE(tells.send(endpoint));
  for (int n = 1; n < 100; ++n) {
    ASSERT_TRUE(near.send({n, std::string(static_cast<std::size_t>(n), 'x')}));
    ASSERT_EQ(near.receive(patience).value().digits, std::vector<int>(static_cast<std::size_t>(n), n));
  }
  near.close();
  EXPECT_EQ(kind_of(near.receive(patience)), "closed");
  EXPECT_EQ(child.exit_code(soon()), 0);
}

struct Visit {
  Far end{};
};

TEST_P(ZmqPipe, DoesNotTravelItselfAndSaysWhatDoes) {
  Near near{listening()};
  Far far{connected(endpoint)};
  EXPECT_EQ(kind_of(near.take_parts()), "refused");
  EXPECT_EQ(kind_of(far.take_parts()), "refused");
  auto [out, in] = Pipe<Visit, void>::create({.carrier = Carrier::stream}).value();
  const Visit visit{std::move(far)};
  const auto sent = out.send(visit);
  EXPECT_EQ(kind_of(sent), "refused");
  EXPECT_NE(sent.error().text.find("try sending endpoint()"), std::string::npos) << sent.error();
  ASSERT_TRUE(near.send({3, ""})) << "and is of use as before";
}

TEST_P(ZmqPipe, SeesADeadEnd) {
  Near near{listening()};
  const Gate heard;
  Forked child{[&] {
    Far end{connected(endpoint)};
    if (!end.send({{1}}) || !end.receive(patience)) return 1;
    heard.open();
    for (;;) ::pause();
  }};
  EXPECT_EQ(near.receive(patience).value().digits, std::vector{1});
  ASSERT_TRUE(near.send({1, ""}));
  ASSERT_TRUE(heard.wait());
  std::thread killer{[&] { child.kill(); }};
  EXPECT_EQ(kind_of(near.receive()), "down") << "without a deadline";
  EXPECT_EQ(kind_of(near.send({2, ""})), "down");
  killer.join();
}

TEST_P(ZmqPipe, SeesItInASelect) {
  Near near{listening()};
  const Gate heard;
  Forked child{[&] {
    Far end{connected(endpoint)};
    if (!end.receive(patience)) return 1;
    heard.open();
    for (;;) ::pause();
  }};
  ASSERT_TRUE(near.send({1, ""}));
  ASSERT_TRUE(heard.wait());
  EXPECT_EQ(kind_of(select({near.readable()}, 5ms)), "timed_out");
  child.kill();
  ASSERT_TRUE(select({near.readable()}, patience));
  EXPECT_EQ(kind_of(near.receive(0ns)), "down");
}

TEST_P(ZmqPipe, IsClosedOneDirectionAtATime) {
  Near near{listening()};
  Far far{connected(endpoint)};
  ASSERT_TRUE(near.send({1, ""}));
  near.close();
  EXPECT_TRUE(far.receive(patience));
  EXPECT_EQ(kind_of(far.receive(patience)), "closed");
  EXPECT_EQ(kind_of(near.send({2, ""})), "closed");
  ASSERT_TRUE(far.send({{5}}));
  EXPECT_EQ(near.receive(patience).value().digits, std::vector{5});
}

TEST_P(ZmqPipe, IsWaitedForBesideOthers) {
  Near near{listening()};
  Far far{connected(endpoint)};
  Near near2{listening()};
  Far far2{connected(endpoint)};
  EXPECT_EQ(kind_of(select({far.readable(), far2.readable()}, 1ms)), "timed_out");
  ASSERT_TRUE(near2.send({1, ""}));
  EXPECT_EQ(select({far.readable(), far2.readable()}, patience).value(), std::vector<std::size_t>{1});
  ASSERT_TRUE(far2.receive(0ns));
  EXPECT_EQ(kind_of(select({far2.readable()}, 1ms)), "timed_out") << "it has been taken";
  near.close();
  EXPECT_EQ(select({far.readable(), far2.readable()}, patience).value(), std::vector<std::size_t>{0});
  EXPECT_EQ(kind_of(far.receive(0ns)), "closed");
}

TEST_P(ZmqPipe, WaitsOnlyAsLongAsItIsTold) {
  Near near{listening()};
  Far far{connected(endpoint)};
  EXPECT_EQ(kind_of(near.receive(0ns)), "timed_out");
  auto deadline = deadline_in(5ms);
  EXPECT_EQ(kind_of(near.receive(5ms)), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
  while (near.send({1, std::string(900, 'x')}, 0ns)) {}
  deadline = deadline_in(5ms);
  const auto sent = near.send({1, std::string(900, 'x')}, 5ms);
  EXPECT_EQ(kind_of(sent), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
}

TEST_P(ZmqPipe, RefusesAMessageOfAnotherTypeAndGoesOn) {
  Near near{listening()};
  Pipe<int, Request> other{connected(endpoint)};
  ASSERT_TRUE(other.send(7));
  const auto got = near.receive(patience);
  EXPECT_EQ(kind_of(got), "refused");
  EXPECT_NE(got.error().text.find("Response"), std::string::npos) << got.error();
  ASSERT_TRUE(near.send({4, "still"}));
  EXPECT_EQ(other.receive(patience).value().number, 4);
}

TEST_P(ZmqPipe, TakesBytesThatAreNoMessageForMalformedAndGoesOn) {
  Far end{listening()};
  const auto raw = connected(endpoint);
  const auto send_raw = [&](std::span<const std::byte> frame) {
    return raw->send(frame, {}, soon()).has_value();
  };
  ASSERT_TRUE(send_raw(test::pattern(1, 7)));
  EXPECT_EQ(kind_of(end.receive(patience)), "malformed") << "too short for a type";
  std::vector<std::byte> bytes(12, std::byte{0xFF});
  const std::uint64_t type = type_id<Request>;
  std::memcpy(bytes.data(), &type, sizeof type);
  ASSERT_TRUE(send_raw(bytes));
  EXPECT_EQ(kind_of(end.receive(patience)), "malformed") << "a Request that does not decode";
  const Request sound{9, "sound"};
  bytes.resize(sizeof type + encoded_size(sound));
  ASSERT_TRUE(encode(sound, std::span{bytes}.subspan(sizeof type)));
  ASSERT_TRUE(send_raw(bytes));
  EXPECT_EQ(end.receive(patience).value().number, 9);
}

TEST_P(ZmqPipe, SaysThatAMessageIsTooLargeAndThatItCarriesNoBlob) {
  Pipe<Blob, void> blobs{listening()};
  Pipe<std::string, void> texts{connected(endpoint)};
  const auto large = texts.send(std::string(1000, 'x'));
  EXPECT_EQ(kind_of(large), "invalid");
  EXPECT_NE(large.error().text.find("frame_bytes_max"), std::string::npos) << large.error();
  EXPECT_EQ(kind_of(blobs.send(Blob::create(std::vector<std::byte>(100)).value())), "refused");
}

TEST_P(ZmqPipe, IsRefusedInAForkedChildWhateverTheParentWasDoing) {
  Near near{listening()};
  Far far{connected(endpoint)};
  std::thread other{[&] { EXPECT_EQ(far.receive(patience).value().number, 3); }};
  Forked child{[&] {
    if (kind_of(far.receive(patience)) != "refused") return 1;
    if (kind_of(near.send({1, ""}, patience)) != "refused") return 2;
    if (kind_of(far.take_parts()) != "refused") return 3;
    far.close();
    return 0;
  }};
  EXPECT_EQ(child.exit_code(soon()), 0);
  ASSERT_TRUE(near.send({3, ""}));
  other.join();
}

}  // namespace
}  // namespace troupe::zmq
