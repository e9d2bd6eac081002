// SPDX-License-Identifier: MIT
#include <troupe/transport/descriptor_store.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

class DescriptorStoreTest : public test::NothingLeft {};

struct Parcel {
  std::string text{};
  Descriptor first{};
  std::vector<Descriptor> more{};
};

/// Both ends of a pipe.
std::array<Descriptor, 2> make_pipe() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  return {Descriptor{OwnedFd{ends[0]}}, Descriptor{OwnedFd{ends[1]}}};
}

bool same_file(int a, int b) {
  struct stat of_a {};
  struct stat of_b {};
  return ::fstat(a, &of_a) == 0 && ::fstat(b, &of_b) == 0 && of_a.st_ino == of_b.st_ino &&
         of_a.st_dev == of_b.st_dev;
}

template <class T>
std::vector<std::byte> encoded(const T& value, DescriptorStore* store) {
  std::vector<std::byte> bytes(encoded_size(value));
  EXPECT_EQ(encode(value, std::span{bytes}, store).value(), bytes.size());
  return bytes;
}

TEST_F(DescriptorStoreTest, CarriesTheDescriptorsOfAValueInTheirOrder) {
  auto [read_end, write_end] = make_pipe();
  Parcel parcel{.text = "pipe"};
  parcel.more.push_back(std::move(read_end));
  parcel.more.push_back(std::move(write_end));
  DescriptorList list{8};
  const auto bytes = encoded(parcel, &list);
  DescriptorList arrived{std::move(list).take()};
  const auto copy = decode<Parcel>(bytes, &arrived);
  ASSERT_TRUE(copy) << copy.error();
  EXPECT_FALSE(copy->first.fd);
  ASSERT_EQ(copy->more.size(), 2U);
  EXPECT_TRUE(same_file(copy->more[0].fd.get(), parcel.more[0].fd.get()));
  EXPECT_NE(copy->more[0].fd.get(), parcel.more[0].fd.get());
  ASSERT_EQ(::write(copy->more[1].fd.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(copy->more[0].fd.get(), &byte, 1), 1);
  EXPECT_NE(::fcntl(copy->more[0].fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(DescriptorStoreTest, CrossesASocketBesideItsFrame) {
  auto [here, there] = SocketChannel::create_pair().value();
  test::Forked child{[&there = there] {
    std::array<std::byte, 256> buffer{};
    auto packet = there.receive(buffer, deadline_in(60s)).value();
    DescriptorList list{std::move(packet.descriptors)};
    auto parcel = decode<Parcel>(std::span{buffer}.first(packet.bytes), &list).value();
    return ::write(parcel.first.fd.get(), "hello", 5) == 5 && parcel.text == "write here" ? 0 : 1;
  }};
  auto [read_end, write_end] = make_pipe();
  DescriptorList list{SocketChannel::descriptors_max};
  const auto bytes = encoded(Parcel{.text = "write here", .first = std::move(write_end)}, &list);
  ASSERT_TRUE(here.send(bytes, list.borrowed(), deadline_in(60s)));
  EXPECT_EQ(child.exit_code(deadline_in(60s)), 0);
  std::array<char, 5> text{};
  ASSERT_EQ(::read(read_end.fd.get(), text.data(), text.size()), 5);
  EXPECT_EQ(std::string_view(text.data(), 5), "hello");
}

TEST_F(DescriptorStoreTest, IsRefusedOnBothSidesWhereThereIsNone) {
  auto [read_end, write_end] = make_pipe();
  const Parcel parcel{.first = std::move(read_end)};
  std::vector<std::byte> bytes(encoded_size(parcel));
  const auto out = encode(parcel, std::span{bytes});
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().kind, ErrorKind::refused);
  EXPECT_NE(out.error().text.find("; try "), std::string::npos) << out.error();
  DescriptorList list{8};
  const auto good = encoded(parcel, &list);
  const auto in = decode<Parcel>(good);
  ASSERT_FALSE(in);
  EXPECT_EQ(in.error().kind, ErrorKind::refused);
}

TEST_F(DescriptorStoreTest, IsNotNeededByAValueThatHoldsNoneNow) {
  const Parcel parcel{.text = "empty"};
  const auto bytes = encoded(parcel, nullptr);
  EXPECT_EQ(decode<Parcel>(bytes).value().text, "empty");
}

TEST_F(DescriptorStoreTest, KeepsNothingOfAValueForWhichThereIsNoRoom) {
  auto [read_end, write_end] = make_pipe();
  Parcel parcel{.first = std::move(read_end)};
  parcel.more.push_back(std::move(write_end));
  DescriptorList list{8};
  for (std::size_t room = 0; room < encoded_size(parcel); ++room) {
    std::vector<std::byte> bytes(room);
    const auto out = encode(parcel, std::span{bytes}, &list);
    ASSERT_FALSE(out) << room;
    EXPECT_EQ(out.error().kind, ErrorKind::full) << room;
    EXPECT_TRUE(list.empty()) << room;
  }
}

TEST_F(DescriptorStoreTest, PutsNothingWhenItIsAskedForTheSizeOnly) {
  auto [read_end, write_end] = make_pipe();
  const Parcel parcel{.first = std::move(read_end)};
  DescriptorList list{8};
  EXPECT_EQ(encoded_size(parcel), encoded(parcel, &list).size());
  EXPECT_EQ(list.borrowed().size(), 1U);
}

TEST_F(DescriptorStoreTest, IsExhaustedBeyondItsBoundAndThenEmpty) {
  auto [read_end, write_end] = make_pipe();
  Parcel parcel{.first = std::move(read_end)};
  parcel.more.push_back(std::move(write_end));
  DescriptorList list{1};
  std::vector<std::byte> bytes(encoded_size(parcel));
  const auto out = encode(parcel, std::span{bytes}, &list);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().kind, ErrorKind::exhausted);
  EXPECT_TRUE(list.empty());
}

TEST_F(DescriptorStoreTest, SaysSystemForADescriptorThatIsNotOpen) {
  struct Stale {
    void save(detail::OutputArchive& archive) const { archive.deposit(-1); }
    void load(detail::InputArchive& archive) { [[maybe_unused]] const auto fd = archive.withdraw(); }
  };
  DescriptorList list{8};
  std::array<std::byte, 8> bytes{};
  const auto out = encode(Stale{}, std::span{bytes}, &list);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().kind, ErrorKind::system);
  EXPECT_EQ(out.error().errnum, EBADF);
}

// --- Names that an enemy has written

class ForgedName : public DescriptorStoreTest, public testing::WithParamInterface<std::uint64_t> {};

TEST_P(ForgedName, IsMalformed) {
  auto [read_end, write_end] = make_pipe();
  std::vector<Descriptor> both;
  both.push_back(std::move(read_end));
  both.push_back(std::move(write_end));
  DescriptorList list{8};
  auto bytes = encoded(both, &list);
  const std::uint64_t forged = GetParam();
  std::memcpy(bytes.data() + bytes.size() - sizeof forged, &forged, sizeof forged);
  DescriptorList arrived{std::move(list).take()};
  const auto copy = decode<std::vector<Descriptor>>(bytes, &arrived);
  ASSERT_FALSE(copy);
  EXPECT_EQ(copy.error().kind, ErrorKind::malformed) << copy.error();
}

INSTANTIATE_TEST_SUITE_P(Forged, ForgedName,
                         testing::Values(0 /* a second time */, 2, 0xffff'ffff, ~std::uint64_t{0}));

TEST_F(DescriptorStoreTest, ClosesWhatCameAndWasNotNamed) {
  auto [read_end, write_end] = make_pipe();
  {
    std::vector<OwnedFd> arrived;
    arrived.push_back(std::move(write_end.fd));
    DescriptorList list{std::move(arrived)};
    EXPECT_TRUE(decode<Parcel>(encoded(Parcel{}, nullptr), &list));
  }
  char byte = 0;
  EXPECT_EQ(::read(read_end.fd.get(), &byte, 1), 0);  // its writing end is closed
}

TEST_F(DescriptorStoreTest, IsExhaustedWithoutRoomForACopy) {
  auto [read_end, write_end] = make_pipe();
  const int code = test::Forked{[fd = read_end.fd.get()] {
                     rlimit limit{};
                     ::getrlimit(RLIMIT_NOFILE, &limit);
                     limit.rlim_cur = static_cast<rlim_t>(fd) + 1;
                     ::setrlimit(RLIMIT_NOFILE, &limit);
                     std::vector<OwnedFd> filler;
                     while (const int next = ::dup(fd)) {
                       if (next == -1) break;
                       filler.emplace_back(next);
                     }
                     DescriptorList list{8};
                     const auto put = list.put(fd);
                     return !put && put.error().kind == ErrorKind::exhausted && list.empty() ? 0 : 1;
                   }}.exit_code(deadline_in(60s));
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace troupe
