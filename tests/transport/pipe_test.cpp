// SPDX-License-Identifier: MIT
#include <troupe/transport/pipe.hpp>

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <troupe/transport/select.hpp>
#include <vector>

#include "transport/carriers.hpp"
#include "transport/channel_cases/fixture.hpp"

namespace troupe {
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

class PipeEnds : public test::NothingLeft, public testing::WithParamInterface<Carrier> {
 protected:
  static auto create(std::size_t frame_bytes_max = 1000) {
    return Near::create({.carrier = GetParam(), .frame_bytes_max = frame_bytes_max}).value();
  }
};

INSTANTIATE_TEST_SUITE_P(Carriers, PipeEnds, testing::ValuesIn(test::carriers),
                         testing::PrintToStringParamName());

TEST_P(PipeEnds, CarryOneTypeEachWay) {
  auto [near, far] = create();
  static_assert(std::is_same_v<decltype(far), Far>);
  ASSERT_TRUE(near.send({7, "seven"}));
  const auto request = far.receive(20s).value();
  EXPECT_EQ(request.number, 7);
  EXPECT_EQ(request.text, "seven");
  ASSERT_TRUE(far.send({{1, 2, 3}}));
  EXPECT_EQ(near.receive().value(), (Response{{1, 2, 3}}));
}

/// Answers each request with its number repeated, until the other end closes.
int serve(Far& end) {
  for (;;) {
    const auto request = end.receive(20s);
    if (!request) return request.error().kind == ErrorKind::closed ? 0 : 1;
    if (!end.send({std::vector<int>(request->text.size(), request->number)})) return 2;
  }
}

TEST_P(PipeEnds, MoveToAnotherProcess) {
  auto [near, far] = create();
  auto parts = far.take_parts().value();
  Forked child{[&] {
    auto end = Far::from(std::move(parts)).value();
    return serve(end);
  }};
  parts.descriptors.clear();
  for (int n = 1; n < 100; ++n) {
    ASSERT_TRUE(near.send({n, std::string(static_cast<std::size_t>(n), 'x')}));
    ASSERT_EQ(near.receive(20s).value().digits, std::vector<int>(static_cast<std::size_t>(n), n));
  }
  near.close();
  EXPECT_EQ(child.exit_code(soon()), 0);
  EXPECT_EQ(kind_of(near.receive(20s)), "closed");
}

TEST_P(PipeEnds, BothMoveToOtherProcesses) {
  auto [near, far] = create();
  auto near_parts = near.take_parts().value();
  auto far_parts = far.take_parts().value();
  Forked server{[&] {
    near_parts.descriptors.clear();
    auto end = Far::from(std::move(far_parts)).value();
    return serve(end);
  }};
  Forked client{[&] {
    far_parts.descriptors.clear();
    auto end = Near::from(std::move(near_parts)).value();
    if (!end.send({4, "ab"})) return 1;
    const auto response = end.receive(20s);
    return response && response->digits == std::vector{4, 4} ? 0 : 2;
  }};
  near_parts.descriptors.clear();
  far_parts.descriptors.clear();
  EXPECT_EQ(client.exit_code(soon()), 0);
  EXPECT_EQ(server.exit_code(soon()), 0);
}

TEST_P(PipeEnds, SeeADeadEndAtOnce) {
  auto [near, far] = create();
  auto parts = far.take_parts().value();
  const Gate answered;
  Forked child{[&] {
    auto end = Far::from(std::move(parts)).value();
    if (!end.send({{1}})) return 1;
    answered.open();
    return test::wait_to_be_killed();
  }};
  parts.descriptors.clear();
  ASSERT_TRUE(answered.wait());
  child.kill();
  EXPECT_EQ(kind_of(near.send({1, ""})), "down");
  EXPECT_EQ(near.receive(0ns).value().digits, std::vector{1}) << "what it had sent still comes";
  EXPECT_EQ(kind_of(near.receive(20s)), "down");
}

TEST_P(PipeEnds, WakeAReceiveWithoutADeadlineWhenTheOtherEndDies) {
  auto [near, far] = create();
  auto parts = far.take_parts().value();
  Forked child{[&] {
    const auto end = Far::from(std::move(parts)).value();
    return test::wait_to_be_killed();
  }};
  parts.descriptors.clear();
  std::thread killer{[&] { ::kill(child.pid(), SIGKILL); }};
  EXPECT_EQ(kind_of(near.receive()), "down");
  killer.join();
}

TEST_P(PipeEnds, AreClosedOneDirectionAtATime) {
  auto [near, far] = create();
  ASSERT_TRUE(near.send({1, ""}));
  near.close();
  EXPECT_TRUE(far.receive(20s));
  EXPECT_EQ(kind_of(far.receive(20s)), "closed");
  EXPECT_EQ(kind_of(near.send({2, ""})), "closed");
  ASSERT_TRUE(far.send({{5}}));
  EXPECT_EQ(near.receive(20s).value().digits, std::vector{5});
}

TEST_P(PipeEnds, RefuseAMessageOfAnotherTypeAndGoOn) {
  auto ends = create_channel({.carrier = GetParam()}).value();
  Pipe<int, int> other{std::move(ends.first)};
  Pipe<Response, Request> end{std::move(ends.second)};
  ASSERT_TRUE(other.send(7));
  const auto got = end.receive(20s);
  EXPECT_EQ(kind_of(got), "refused");
  EXPECT_NE(got.error().text.find("Request"), std::string::npos) << got.error();
  ASSERT_TRUE(other.send(8));
  EXPECT_EQ(kind_of(end.receive(20s)), "refused");
}

TEST_P(PipeEnds, TakeBytesThatAreNoMessageForMalformed) {
  auto ends = create_channel({.carrier = GetParam()}).value();
  Pipe<Response, Request> end{std::move(ends.second)};
  ASSERT_TRUE(ends.first->send(test::pattern(1, 7), {}, soon()));
  EXPECT_EQ(kind_of(end.receive(20s)), "malformed") << "too short for a type";
  std::vector<std::byte> bytes(12, std::byte{0xFF});
  const std::uint64_t type = type_id<Request>;
  std::memcpy(bytes.data(), &type, sizeof type);
  ASSERT_TRUE(ends.first->send(bytes, {}, soon()));
  EXPECT_EQ(kind_of(end.receive(20s)), "malformed") << "a Request that does not decode";
}

TEST_P(PipeEnds, SayThatAMessageIsTooLarge) {
  auto [near, far] = create(100);
  const auto sent = near.send({1, std::string(100, 'x')});
  EXPECT_EQ(kind_of(sent), "invalid");
  EXPECT_NE(sent.error().text.find("frame_bytes_max"), std::string::npos);
  EXPECT_NE(sent.error().text.find("into a Blob"), std::string::npos) << sent.error().text;
  EXPECT_EQ(kind_of(far.receive(0ns)), "timed_out") << "nothing was sent";
  auto [tiny, other] = create(3);
  EXPECT_EQ(kind_of(tiny.send({1, ""})), "invalid") << "no room for a type even";
}

TEST_P(PipeEnds, WaitOnlyAsLongAsTheyAreTold) {
  auto [near, far] = create();
  EXPECT_EQ(kind_of(near.receive(0ns)), "timed_out");
  const auto deadline = deadline_in(5ms);
  EXPECT_EQ(kind_of(near.receive(5ms)), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
  auto sent = Result<void>{};
  std::size_t count = 0;
  for (; (sent = near.send({1, std::string(900, 'x')}, 0ns)); ++count) {}
  EXPECT_EQ(kind_of(sent), "timed_out");
  for (std::size_t n = 0; n < count; ++n) ASSERT_TRUE(far.receive(20s));
  EXPECT_EQ(kind_of(far.receive(0ns)), "timed_out");
}

TEST_P(PipeEnds, AreWaitedForBesideOthers) {
  auto [near, far] = create();
  auto [near2, far2] = create();
  EXPECT_EQ(kind_of(select({far.readable(), far2.readable()}, 1ms)), "timed_out");
  ASSERT_TRUE(near2.send({1, ""}));
  EXPECT_EQ(select({far.readable(), far2.readable()}, 20s).value(), std::vector<std::size_t>{1});
  ASSERT_TRUE(far2.receive(0ns));
  near.close();
  EXPECT_EQ(select({far.readable(), far2.readable()}, 20s).value(), std::vector<std::size_t>{0});
  EXPECT_EQ(kind_of(far.receive(0ns)), "closed");
}

TEST_P(PipeEnds, AreUsedByAllThreadsOfAProcess) {
  auto [near, far] = create();
  constexpr int threads_each = 4;
  constexpr int messages_each = 200;
  std::mutex lock;
  std::multiset<int> numbers;
  std::vector<std::thread> threads;
  for (int id = 0; id < threads_each; ++id) {
    threads.emplace_back([&end = near, id] {
      for (int n = 0; n < messages_each; ++n)
        if (!end.send({id * messages_each + n, std::string(50, 'x')}, 20s)) return;
    });
    threads.emplace_back([&, &other = far] {
      for (int n = 0; n < messages_each; ++n) {
        const auto request = other.receive(20s);
        if (!request) return;
        const std::lock_guard hold{lock};
        numbers.insert(request->number);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(numbers.size(), static_cast<std::size_t>(threads_each * messages_each));
  EXPECT_EQ((std::set<int>{numbers.begin(), numbers.end()}.size()), numbers.size());
}

TEST_P(PipeEnds, KeepADeadlineWhileAnotherThreadReceives) {
  auto [near, far] = create();
  std::thread other{[&end = far] { EXPECT_EQ(end.receive(20s).value().number, 3); }};
  const auto deadline = deadline_in(5ms);
  EXPECT_EQ(kind_of(far.receive(5ms)), "timed_out");
  EXPECT_GE(Clock::now(), deadline);
  ASSERT_TRUE(near.send({3, ""}));
  other.join();
}

TEST_P(PipeEnds, AreRefusedInAForkedChildWhateverTheParentWasDoing) {
  auto [near, far] = create();
  std::thread other{[&end = far] { EXPECT_EQ(end.receive(20s).value().number, 3); }};
  Forked child{[&end = far, &peer = near] {
    if (kind_of(end.receive(20s)) != "refused") return 1;
    if (kind_of(peer.send({1, ""}, 20s)) != "refused") return 2;
    if (kind_of(end.take_parts()) != "refused") return 3;
    end.close();
    return 0;
  }};
  EXPECT_EQ(child.exit_code(soon()), 0);
  ASSERT_TRUE(near.send({3, ""}));
  other.join();
}

TEST_P(PipeEnds, AreRefusedOnceTheyHaveMovedAway) {
  auto [near, far] = create();
  Near moved = std::move(near);
  EXPECT_EQ(kind_of(near.send({1, ""})), "refused");  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(kind_of(near.receive(0ns)), "refused");   // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(kind_of(near.take_parts()), "refused");   // NOLINT(bugprone-use-after-move)
  ASSERT_TRUE(moved.send({1, ""}));
  EXPECT_EQ(kind_of(moved.take_parts()), "refused") << "it has been used";
  const auto parts = far.take_parts();
  ASSERT_TRUE(parts);
  EXPECT_EQ(kind_of(far.receive(0ns)), "refused");
}

TEST_P(PipeEnds, MayHaveOneDirectionOnly) {
  auto [out, in] = Pipe<std::string, void>::create({.carrier = GetParam()}).value();
  static_assert(std::is_same_v<decltype(in), Pipe<void, std::string>>);
  ASSERT_TRUE(out.send("one way"));
  EXPECT_EQ(in.receive(20s).value(), "one way");
}

// ---- messages that hold descriptors ----------------------------------------------------------------

struct Image {
  Blob pixels{};
  int width = 0;
};

Image image_of(std::size_t bytes, int width) {
  return {Blob::create(std::vector<std::byte>(bytes, std::byte{5})).value(), width};
}

bool carries_descriptors(Carrier carrier) { return carrier == Carrier::stream || carrier == Carrier::packet; }

TEST_P(PipeEnds, CarryBlobsOverSocketsAndRefuseThemElsewhere) {
  auto [out, in] = Pipe<Image, int>::create({.carrier = GetParam(), .frame_bytes_max = 1000}).value();
  const auto sent = out.send(image_of(100'000, 640));
  if (!carries_descriptors(GetParam())) {
    EXPECT_EQ(kind_of(sent), "refused");
    EXPECT_NE(sent.error().text.find("a channel over sockets"), std::string::npos) << sent.error();
    EXPECT_EQ(kind_of(in.receive(0ns)), "timed_out") << "nothing was sent";
    return;
  }
  ASSERT_TRUE(sent);
  ASSERT_TRUE(out.send(image_of(10, 20)));
  for (const auto& [bytes, width] : {std::pair{100'000U, 640}, std::pair{10U, 20}}) {
    const auto image = in.receive(20s).value();
    EXPECT_EQ(image.width, width);
    ASSERT_EQ(image.pixels.bytes().value().size(), bytes);
    EXPECT_EQ(image.pixels.bytes().value().back(), std::byte{5});
  }
}

class PipesOverSockets : public PipeEnds {};

INSTANTIATE_TEST_SUITE_P(Carriers, PipesOverSockets, testing::Values(Carrier::stream, Carrier::packet),
                         testing::PrintToStringParamName());

TEST_P(PipesOverSockets, CarryAsManyDescriptorsAsAFrameMayHave) {
  using Images = std::vector<Blob>;
  auto [out, in] = Pipe<Images, int>::create({.carrier = GetParam()}).value();
  const Images most(64, image_of(8, 0).pixels);
  ASSERT_TRUE(out.send(most));
  EXPECT_EQ(in.receive(20s).value().size(), most.size());
  EXPECT_EQ(kind_of(out.send(Images(65, most.front()))), "exhausted");
  EXPECT_EQ(kind_of(in.receive(0ns)), "timed_out") << "nothing was sent";
}

TEST_P(PipeEnds, TakeAMessageWhoseDescriptorsHaveNotComeForMalformed) {
  auto ends = create_channel({.carrier = GetParam()}).value();
  Pipe<int, Image> end{std::move(ends.second)};
  const Image image = image_of(8, 1);
  std::vector<std::byte> bytes(sizeof(std::uint64_t) + encoded_size(image));
  DescriptorList list{8};
  ASSERT_TRUE(encode(image, std::span{bytes}.subspan(sizeof(std::uint64_t)), &list));
  const std::uint64_t type = type_id<Image>;
  std::memcpy(bytes.data(), &type, sizeof type);
  ASSERT_TRUE(ends.first->send(bytes, {}, soon()));
  EXPECT_EQ(kind_of(end.receive(20s)), carries_descriptors(GetParam()) ? "malformed" : "refused");
}

struct Visit {
  Far end{};
};

TEST_P(PipeEnds, TravelInMessages) {
  auto [near, far] = create();
  auto [out, in] = Pipe<Visit, void>::create({.carrier = Carrier::packet}).value();
  ASSERT_TRUE(out.send(Visit{std::move(far)}));
  ASSERT_TRUE(near.send({7, "before it has arrived"}));
  {
    auto visit = in.receive(20s).value();
    EXPECT_EQ(visit.end.receive(20s).value().number, 7);
    ASSERT_TRUE(visit.end.send({{8}}));
  }
  EXPECT_EQ(near.receive(20s).value().digits, std::vector{8});
  EXPECT_EQ(kind_of(near.receive(20s)), "closed") << "where it has arrived it was closed, and only there";
}

TEST_P(PipeEnds, AreDeadIfTheyGetLostOnTheirWay) {
  auto [near, far] = create();
  {
    auto [out, in] = Pipe<Visit, void>::create({.carrier = Carrier::stream}).value();
    ASSERT_TRUE(out.send(Visit{std::move(far)}));
  }
  EXPECT_EQ(kind_of(near.receive(20s)), "down");
}

TEST_P(PipeEnds, TravelInAMessageThatIsSentOnceMoreSinceItDidNotGo) {
  auto [near, far] = create();
  const Visit visit{std::move(far)};
  auto [tiny, other] = Pipe<Visit, void>::create({.carrier = Carrier::stream, .frame_bytes_max = 60}).value();
  EXPECT_EQ(kind_of(tiny.send(visit)), "invalid");
  auto [out, in] = Pipe<Visit, void>::create({.carrier = Carrier::stream}).value();
  ASSERT_TRUE(out.send(visit));
  ASSERT_TRUE(near.send({9, ""}));
  EXPECT_EQ(in.receive(20s).value().end.receive(20s).value().number, 9);
}

TEST_P(PipeEnds, DoNotTravelOnceUsedOrMovedAway) {
  auto [near, far] = create();
  auto [out, in] = Pipe<Visit, void>::create({.carrier = Carrier::stream}).value();
  ASSERT_TRUE(far.send({{1}}));
  const Visit used{std::move(far)};
  const auto sent = out.send(used);
  EXPECT_EQ(kind_of(sent), "refused");
  EXPECT_NE(sent.error().text.find("before its first use"), std::string::npos) << sent.error();
  EXPECT_EQ(kind_of(out.send(Visit{})), "refused") << "no end at all";
}

/// A Pipe's encoding: carrier, frame_bytes_max, count, then a name for each part.
struct Encoded {
  std::vector<std::byte> bytes{};
  DescriptorList list{8};
};

void encode_end(Far far, Encoded& into) {
  into.bytes.resize(encoded_size(far));
  ASSERT_TRUE(encode(far, std::span{into.bytes}, &into.list));
}

TEST_P(PipeEnds, ThatDoNotArriveWholeAreMalformed) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{8}, std::size_t{9}}) {
    auto [near, far] = create();
    Encoded encoded;
    encode_end(std::move(far), encoded);
    encoded.bytes[at] = std::byte{0xFE};  // a carrier, a size, a count that there is not
    EXPECT_EQ(kind_of(decode<Far>(encoded.bytes, &encoded.list)), "malformed") << at;
  }
  auto [near, far] = create();
  Encoded encoded;
  encode_end(std::move(far), encoded);
  DescriptorList fewer{std::vector<OwnedFd>{}};
  EXPECT_EQ(kind_of(decode<Far>(encoded.bytes, &fewer)), "malformed");
  EXPECT_TRUE(decode<Far>(encoded.bytes, &encoded.list)) << "as it was sent";
}

}  // namespace
}  // namespace troupe
