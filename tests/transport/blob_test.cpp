// SPDX-License-Identifier: MIT
#include <troupe/transport/blob.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/frozen.hpp>
#include <troupe/transport/socket_channel.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/forked.hpp"
#include "transport/lane_ends.hpp"
#include "transport/memory_watch.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

class BlobTest : public test::NothingLeft {};
class FrozenTest : public test::NothingLeft {};

constexpr std::size_t mebibyte = std::size_t{1} << 20U;
constexpr auto soon = 60s;

bool holds(const Blob& blob, std::span<const std::byte> expected) {
  const auto bytes = blob.bytes();
  return bytes && std::ranges::equal(*bytes, expected);
}

/// What a receiver of these bytes and descriptors would see.
template <class T>
Result<T> arrive(const std::vector<std::byte>& bytes, std::vector<OwnedFd> descriptors) {
  DescriptorList list{std::move(descriptors)};
  return decode<T>(bytes, &list);
}

template <class T>
Result<T> pass(const T& value) {
  std::vector<std::byte> bytes(encoded_size(value));
  DescriptorList list{16};
  if (auto encoded = encode(value, std::span{bytes}, &list); !encoded) return failure(std::move(encoded));
  return arrive<T>(bytes, std::move(list).take());
}

/// A blob as an enemy would forge it: this file, announced with this size.
Result<Blob> forged(OwnedFd file, std::uint64_t announced) {
  std::vector<std::byte> bytes(2 * sizeof(std::uint64_t));
  std::memcpy(bytes.data(), &announced, sizeof announced);
  std::vector<OwnedFd> one;
  one.push_back(std::move(file));
  return arrive<Blob>(bytes, std::move(one));
}

int descriptor_of(const Blob& blob, DescriptorList& list) {
  std::array<std::byte, 16> bytes{};
  EXPECT_TRUE(encode(blob, std::span{bytes}, &list));
  return list.borrowed().back();
}

// --- Making and reading

TEST_F(BlobTest, HoldsWhatItWasMadeOf) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4096}, 3 * mebibyte + 7}) {
    const auto pattern = test::pattern(bytes, bytes);
    const Blob blob = Blob::create(pattern).value();
    EXPECT_EQ(blob.size(), bytes);
    EXPECT_TRUE(holds(blob, pattern));
  }
}

TEST_F(BlobTest, IsFilledInPlace) {
  const auto pattern = test::pattern(1, mebibyte);
  const Blob blob = Blob::create(pattern.size(), [&](std::span<std::byte> room) {
                      EXPECT_EQ(room.size(), pattern.size());
                      std::ranges::copy(pattern, room.begin());
                    }).value();
  EXPECT_TRUE(holds(blob, pattern));
  auto writer = BlobWriter::create(4096).value();
  writer.bytes()[17] = std::byte{3};
  const Blob other = std::move(writer).seal().value();
  EXPECT_EQ(other.bytes().value()[17], std::byte{3});
  EXPECT_EQ(other.bytes().value()[16], std::byte{0});
}

TEST_F(BlobTest, MayBeEmpty) {
  for (const Blob& blob : {Blob{}, Blob::create({}).value(), BlobWriter::create(0).value().seal().value()}) {
    EXPECT_EQ(blob.size(), 0U);
    EXPECT_TRUE(blob.bytes().value().empty());
    EXPECT_EQ(pass(blob).value().size(), 0U);
  }
}

TEST_F(BlobTest, IsMappedOnceByAllItsCopiesAndThreads) {
  const Blob blob = Blob::create(test::pattern(2, mebibyte)).value();
  const Blob copy = blob;
  std::array<const std::byte*, 4> seen{};
  {
    std::array<std::jthread, 4> threads;
    for (std::size_t i = 0; i < threads.size(); ++i)
      threads[i] = std::jthread{[&, i] { seen[i] = (i % 2 == 0 ? blob : copy).bytes().value().data(); }};
  }
  for (const std::byte* const at : seen) EXPECT_EQ(at, seen[0]);
}

TEST_F(BlobTest, OutlivesTheOneItWasCopiedFrom) {
  const auto pattern = test::pattern(3, 100);
  auto first = std::make_unique<Blob>(Blob::create(pattern).value());
  const Blob copy = *first;
  const auto bytes = copy.bytes().value();
  first.reset();
  EXPECT_TRUE(std::ranges::equal(bytes, pattern));
}

TEST_F(BlobTest, IsReadByAPlainForksChild) {
  const auto pattern = test::pattern(4, mebibyte);
  const Blob blob = Blob::create(pattern).value();
  ASSERT_TRUE(holds(blob, pattern));  // mapped before the fork
  EXPECT_EQ(test::Forked{[&] { return holds(blob, pattern) ? 0 : 1; }}.exit_code(deadline_in(soon)), 0);
}

// --- Travelling

TEST_F(BlobTest, TravelsAsSixteenBytesHoweverLargeItIs) {
  const Blob blob = Blob::create(64 * mebibyte, [](std::span<std::byte> room) {
                      std::memset(room.data(), 7, room.size());
                    }).value();
  EXPECT_EQ(encoded_size(blob), 16U);
  auto [here, there] = SocketChannel::create_pair().value();
  test::Forked reader{[&there = there] {
    std::array<std::byte, 64> buffer{};
    auto packet = there.receive(buffer, deadline_in(soon)).value();
    DescriptorList list{std::move(packet.descriptors)};
    const auto got = decode<Blob>(std::span{buffer}.first(packet.bytes), &list).value();
    const auto bytes = got.bytes().value();
    return bytes.size() == 64 * mebibyte &&
                   std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{7}; })
               ? 0
               : 1;
  }};
  DescriptorList list{16};
  std::array<std::byte, 16> bytes{};
  ASSERT_TRUE(encode(blob, std::span{bytes}, &list));
  ASSERT_TRUE(here.send(bytes, list.borrowed(), deadline_in(soon)));
  EXPECT_EQ(reader.exit_code(deadline_in(soon)), 0);
}

TEST_F(BlobTest, SharesItsMemoryWithWhoReceivedIt) {
  const Blob blob = Blob::create(test::pattern(5, mebibyte)).value();
  const Blob copy = pass(blob).value();
  DescriptorList of_both{16};
  struct stat one {};
  struct stat other {};
  ASSERT_EQ(::fstat(descriptor_of(blob, of_both), &one), 0);
  ASSERT_EQ(::fstat(descriptor_of(copy, of_both), &other), 0);
  EXPECT_EQ(one.st_ino, other.st_ino);
}

TEST_F(BlobTest, IsFreedWithItsLastHolderHoweverThatDies) {
  auto [here, there] = SocketChannel::create_pair().value();
  test::Forked holder{[&there = there] {
    std::array<std::byte, 64> buffer{};
    auto packet = there.receive(buffer, deadline_in(soon)).value();
    DescriptorList list{std::move(packet.descriptors)};
    const auto got = decode<Blob>(std::span{buffer}.first(packet.bytes), &list).value();
    there.send(got.bytes().value().first(1), {}, deadline_in(soon)).value();
    [[maybe_unused]] const auto never_comes = there.receive(buffer, deadline_in(soon));
    return 0;
  }};
  const auto pattern = test::pattern(6, mebibyte);
  std::optional<Blob> blob{Blob::create(pattern).value()};
  std::optional<DescriptorList> list{16};
  const test::MemoryWatch memory{descriptor_of(*blob, *list)};
  std::array<std::byte, 16> bytes{};
  list.emplace(16);
  ASSERT_TRUE(encode(*blob, std::span{bytes}, &*list));
  ASSERT_TRUE(here.send(bytes, list->borrowed(), deadline_in(soon)));
  list.reset();
  blob.reset();
  std::array<std::byte, 1> first{};
  ASSERT_TRUE(here.receive(first, deadline_in(soon)));
  EXPECT_EQ(first[0], pattern[0]);
  EXPECT_FALSE(memory.freed(Clock::now()));  // the reader alone has it now
  holder.kill();
  EXPECT_TRUE(memory.freed(deadline_in(soon)));
}

// --- What a receiver must not believe

TEST_F(BlobTest, CannotBeWrittenByAnyWay) {
  const Blob blob = Blob::create(test::pattern(7, 2 * mebibyte)).value();
  DescriptorList list{16};
  const int fd = descriptor_of(blob, list);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(::pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(::ftruncate(fd, 0), -1);
  EXPECT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  const std::string again = "/proc/self/fd/" + std::to_string(fd);
  const OwnedFd reopened{::open(again.c_str(), O_RDWR | O_CLOEXEC)};
  if (reopened) {
    EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reopened.get(), 0), MAP_FAILED);
    EXPECT_EQ(::pwrite(reopened.get(), "x", 1, 0), -1);
  }
  const auto bytes = blob.bytes().value();
  auto* const page = const_cast<std::byte*>(bytes.data());
  EXPECT_EQ(::mprotect(page, 4096, PROT_READ | PROT_WRITE), -1);
  EXPECT_TRUE(holds(blob, test::pattern(7, 2 * mebibyte)));
}

TEST_F(BlobTest, IsNotSealedWhileSomebodyCanStillWriteToIt) {
  auto file = create_memory("test", 4096).value();
  const auto map = MemoryMap::create(file.get(), 4096, Access::read_write).value();
  EXPECT_FALSE(seal_for_good(file.get()));
}

TEST_F(BlobTest, IsMalformedWhenItIsNotSealed) {
  const auto got = forged(create_memory("forged", 4096).value(), 4096);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, ErrorKind::malformed);
  EXPECT_NE(got.error().text.find("not sealed"), std::string::npos) << got.error();
}

TEST_F(BlobTest, IsMalformedWithoutAnyOneOfItsSeals) {
  const std::array seals{F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_SEAL};
  for (const int missing : seals) {
    auto file = create_memory("forged", 4096).value();
    for (const int seal : seals) ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, seal == missing ? 0 : seal), 0);
    EXPECT_EQ(forged(std::move(file), 4096).error().kind, ErrorKind::malformed) << missing;
  }
}

TEST_F(BlobTest, IsMalformedWhenALaneFileIsPassedForIt) {
  auto file = create_memory("forged", 4096).value();
  ASSERT_TRUE(seal_against_writers(file.get()));  // whoever has it mapped goes on writing
  EXPECT_EQ(forged(std::move(file), 4096).error().kind, ErrorKind::malformed);
}

TEST_F(BlobTest, IsMalformedWithAnotherSizeThanAnnounced) {
  for (const std::uint64_t announced : {std::uint64_t{1}, std::uint64_t{4095}, std::uint64_t{4097},
                                        std::uint64_t{1} << 40U, ~std::uint64_t{0}}) {
    auto file = create_memory("forged", 4096).value();
    ASSERT_TRUE(seal_for_good(file.get()));
    EXPECT_EQ(forged(std::move(file), announced).error().kind, ErrorKind::malformed) << announced;
  }
}

TEST_F(BlobTest, IsMalformedWithHolesThatItsReaderWouldPayFor) {
  OwnedFd file{::memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  constexpr std::size_t vast = std::size_t{1} << 40U;
  ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(vast)), 0);
  ASSERT_TRUE(seal_for_good(file.get()));
  EXPECT_EQ(forged(std::move(file), vast).error().kind, ErrorKind::malformed);
}

TEST_F(BlobTest, IsMalformedWhenItIsNoMemoryFile) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const OwnedFd write_end{ends[1]};
  EXPECT_EQ(forged(OwnedFd{ends[0]}, 4096).error().kind, ErrorKind::malformed);
  EXPECT_EQ(forged(OwnedFd{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)}, 4096).error().kind,
            ErrorKind::malformed);
}

TEST_F(BlobTest, IsExhaustedAndNoFaultWithoutMemoryForIt) {
  const int code = test::Forked{[] {
                     ::signal(SIGXFSZ, SIG_IGN);
                     const rlimit limit{mebibyte, mebibyte};
                     ::setrlimit(RLIMIT_FSIZE, &limit);
                     const auto copied = Blob::create(std::vector<std::byte>(2 * mebibyte));
                     const auto written = BlobWriter::create(2 * mebibyte);
                     return !copied && copied.error().kind == ErrorKind::exhausted && !written &&
                                    written.error().kind == ErrorKind::exhausted
                                ? 0
                                : 1;
                   }}.exit_code(deadline_in(soon));
  EXPECT_EQ(code, 0);
}

TEST_F(BlobTest, IsExhaustedWithoutAddressesToMapItAt) {
  const Blob blob = Blob::create(64 * mebibyte, [](std::span<std::byte>) {}).value();
  const int code = test::Forked{[&] {
                     const rlimit limit{32 * mebibyte, 32 * mebibyte};
                     ::setrlimit(RLIMIT_AS, &limit);
                     const auto bytes = blob.bytes();
                     return !bytes && bytes.error().kind == ErrorKind::exhausted ? 0 : 1;
                   }}.exit_code(deadline_in(soon));
  EXPECT_EQ(code, 0);
}

// --- Frozen

struct Sample {
  double value = 0;
  std::uint64_t count = 0;
  bool operator==(const Sample&) const = default;
};

TEST_F(FrozenTest, IsReadInPlaceWhenItsBytesAreItsValue) {
  const auto frozen = Frozen<Sample>::create({1.5, 7}).value();
  const auto copy = pass(frozen).value();
  EXPECT_EQ(copy.get(), (Sample{1.5, 7}));
  EXPECT_EQ(&copy.get(), &copy.get());
}

TEST_F(FrozenTest, ShowsAVectorOfSuchAsASpan) {
  std::vector<Sample> samples(100'000);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = {0.5 * static_cast<double>(i), i};
  const auto frozen = Frozen<std::vector<Sample>>::create(samples).value();
  const auto copy = pass(frozen).value();
  const std::span<const Sample> view = copy.get();
  EXPECT_TRUE(std::ranges::equal(view, samples));
  EXPECT_TRUE(Frozen<std::vector<int>>::create({}).value().get().empty());
}

TEST_F(FrozenTest, IsDecodedOnceWhenItsBytesAreNotItsValue) {
  using Words = std::map<std::string, std::vector<int>>;
  const Words words{{"one", {1}}, {"many", {1, 2, 3}}};
  const auto frozen = Frozen<Words>::create(words).value();
  const auto arrived = pass(frozen).value();
  const auto copy = arrived;
  EXPECT_EQ(arrived.get(), words);
  EXPECT_EQ(&arrived.get(), &copy.get());
}

TEST_F(FrozenTest, MayHoldNothing) {
  const Frozen<Sample> nothing;
  EXPECT_FALSE(nothing);
  EXPECT_FALSE(pass(nothing).value());
}

TEST_F(FrozenTest, IsMalformedInABlobOfTheWrongSize) {
  const auto eight = Frozen<std::vector<std::uint8_t>>::create(std::vector<std::uint8_t>(8)).value();
  std::vector<std::byte> bytes(encoded_size(eight));
  const auto arrives_as = [&]<class T>(std::type_identity<T>) {
    DescriptorList list{16};
    EXPECT_TRUE(encode(eight, std::span{bytes}, &list));
    return arrive<T>(bytes, std::move(list).take());
  };
  EXPECT_EQ(arrives_as(std::type_identity<Frozen<Sample>>{}).error().kind, ErrorKind::malformed);
  EXPECT_EQ(arrives_as(std::type_identity<Frozen<std::vector<Sample>>>{}).error().kind, ErrorKind::malformed);
  EXPECT_TRUE(arrives_as(std::type_identity<Frozen<double>>{}));
}

}  // namespace
}  // namespace troupe
