// SPDX-License-Identifier: MIT
#include <troupe/runtime/shared.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <limits>
#include <thread>
#include <troupe/runtime/event.hpp>
#include <troupe/runtime/mutex.hpp>
#include <troupe/runtime/shared_array.hpp>
#include <troupe/transport/type_id.hpp>
#include <vector>

#include "shared_cases.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Child;
using test::Forked;
using test::patience;

enum class Colour : std::uint8_t { red, green, blue };
constexpr bool is_valid(Colour colour) { return colour <= Colour::blue; }

struct Pair {
  std::int32_t left = 0;
  std::int32_t right = 0;
  friend bool operator==(const Pair&, const Pair&) = default;
};
struct Reading {
  std::uint64_t number = 0;
  Colour colour = Colour::red;
  bool good = false;
  std::array<double, 20> values{};
  friend bool operator==(const Reading&, const Reading&) = default;
};

static_assert(Shared<int>::is_lock_free && Shared<double>::is_lock_free && Shared<Pair>::is_lock_free &&
              Shared<bool>::is_lock_free && Shared<char>::is_lock_free);
static_assert(!Shared<Colour>::is_lock_free, "not every byte is a colour");
static_assert(!Shared<Reading>::is_lock_free);

void add(Shared<long> sum, Shared<double> half, int times) {
  for (int i = 0; i < times; ++i) {
    sum.fetch_add(2);
    half.fetch_add(0.5);
    sum.fetch_subtract(1);
  }
}
Reading reading_of(std::uint64_t number) {
  Reading reading{
      .number = number, .colour = Colour{static_cast<std::uint8_t>(number % 3)}, .good = number % 2 == 0};
  reading.values.fill(static_cast<double>(number));
  return reading;
}
void count_on(Shared<Reading> shared, int times) {
  for (int i = 0; i < times; ++i)
    shared.update([](Reading& it) { it = reading_of(it.number + 1); }, patience).value();
}
void die_within_an_update(Shared<Reading> shared) {
  shared
      .update([](Reading& it) {
        it = reading_of(999);
        ::_exit(0);
      })
      .value();
}
template <class T>
void replace(Shared<T> shared, T expected, T value) {
  if (shared.read().value() != expected) throw Failure{{ErrorKind::invalid, 0, "another value"}};
  shared.update([&](T& it) { it = value; }).value();
}
void fill_slice(const SharedArray<int>& array, std::size_t part, std::size_t parts) {
  for (int& element : array.slice(part, parts)) element += static_cast<int>(part) + 1;
}
void add_to_first(const SharedArray<long>& array, int times) {
  for (int i = 0; i < times; ++i) array.atomic(0).fetch_add(1);
}
void die_with_lock(const SharedArray<int>& array) {
  const auto lock = array.lock(patience).value();
  array[0] = 1;
  ::_exit(0);
}

class SharedBetweenProcesses : public test::BetweenProcesses {
 protected:
  template <class T>
  static void expect_round_trip(T first, T second) {
    const Shared<T> shared{first};
    Child child = start(replace<T>, shared, first, second);
    EXPECT_TRUE(child.ended_well()) << type_name<T>;
    EXPECT_EQ(shared.read().value(), second) << type_name<T>;
  }
};

TEST_P(SharedBetweenProcesses, ValuesOfAllTypesGoThereAndBack) {
  expect_round_trip<char>('a', 'b');
  expect_round_trip<bool>(false, true);
  expect_round_trip<std::uint16_t>(1, 65'535);
  expect_round_trip<int>(-1, std::numeric_limits<int>::min());
  expect_round_trip<std::uint64_t>(1, std::numeric_limits<std::uint64_t>::max());
  expect_round_trip<float>(0.5F, -1.25F);
  expect_round_trip<double>(1.0 / 3, 1e300);
  expect_round_trip<Colour>(Colour::red, Colour::blue);
  expect_round_trip<Pair>({1, 2}, {-3, 4});
  expect_round_trip<Reading>(reading_of(1), reading_of(2));
  expect_round_trip<std::array<long, 3>>({1, 2, 3}, {4, 5, 6});
}

TEST_P(SharedBetweenProcesses, NoAdditionIsLost) {
  constexpr int times = 20'000;
  const Shared<long> sum{0};
  const Shared<double> half{0};
  Child one = start(add, sum, half, times);
  Child other = start(add, sum, half, times);
  EXPECT_TRUE(one.ended_well());
  EXPECT_TRUE(other.ended_well());
  EXPECT_EQ(sum.load(), 2L * times);
  EXPECT_EQ(half.load(), static_cast<double>(times));
}

TEST_P(SharedBetweenProcesses, AStructIsNeverSeenInBetween) {
  constexpr int times = 3000;
  const Shared<Reading> shared{reading_of(0)};
  Child one = start(count_on, shared, times);
  Child other = start(count_on, shared, times);
  for (std::uint64_t last = 0; last < 2 * times;) {
    const auto seen = shared.read(patience).value();
    ASSERT_EQ(seen, reading_of(seen.number));
    ASSERT_GE(seen.number, last);
    last = seen.number;
  }
  EXPECT_TRUE(one.ended_well());
  EXPECT_TRUE(other.ended_well());
}

TEST_P(SharedBetweenProcesses, AWriterThatDiesWithinAnUpdateLeavesTheOldValue) {
  Shared<Reading> shared{reading_of(7)};
  Child child = start(die_within_an_update, shared);
  EXPECT_TRUE(child.ended_well());
  EXPECT_EQ(shared.read().value(), reading_of(7));
  EXPECT_EQ(shared.update([](Reading& it) { it = reading_of(it.number + 1); }, patience).value(),
            reading_of(8));
}

TEST_P(SharedBetweenProcesses, AnArrayIsFilledSliceBySliceInParallel) {
  constexpr std::size_t parts = 3;
  const SharedArray<int> array{{.elements = 10'000}};
  std::vector<Child> children;
  for (std::size_t part = 0; part < parts; ++part) children.push_back(start(fill_slice, array, part, parts));
  for (Child& child : children) EXPECT_TRUE(child.ended_well());
  for (std::size_t part = 0; part < parts; ++part)
    for (const int element : array.slice(part, parts)) ASSERT_EQ(element, static_cast<int>(part) + 1);
}

TEST_P(SharedBetweenProcesses, ElementsAreChangedAtomically) {
  constexpr int times = 20'000;
  const SharedArray<long> array;
  Child one = start(add_to_first, array, times);
  add_to_first(array, times);
  EXPECT_TRUE(one.ended_well());
  EXPECT_EQ(array[0], 2L * times);
}

TEST_P(SharedBetweenProcesses, AnArraysLockTellsOfADeadHolder) {
  const SharedArray<int> array;
  Child child = start(die_with_lock, array);
  EXPECT_TRUE(child.ended_well());
  auto lock = array.lock(patience).value();
  EXPECT_TRUE(lock.owner_died());
  EXPECT_EQ(array[0], 1) << "what it had written is there";
  lock.repaired();
}

INSTANTIATE_TEST_SUITE_P(Runtime, SharedBetweenProcesses, test::all_ways, test::name_of_way);

class SharedTest : public test::NothingLeft {};

TEST_F(SharedTest, AWordIsLoadedStoredExchangedAndCompared) {
  Shared<int> shared{1};
  EXPECT_EQ(shared.load(), 1);
  shared.store(2);
  EXPECT_EQ(shared.exchange(3), 2);
  int expected = 4;
  EXPECT_FALSE(shared.compare_exchange(expected, 5));
  EXPECT_EQ(expected, 3);
  EXPECT_TRUE(shared.compare_exchange(expected, 5));
  EXPECT_EQ(shared.fetch_add(2), 5);
  EXPECT_EQ(shared.fetch_subtract(7), 7);
  EXPECT_EQ(shared.load(), 0);
  EXPECT_EQ(shared.update([](int& it) { it = 9; }).value(), 9);
  EXPECT_EQ(Shared<int>{}.load(), 0);
  Shared<std::uint8_t> small{255};
  EXPECT_EQ(small.fetch_add(1), 255);
  EXPECT_EQ(small.load(), 0) << "it wraps around";
}

TEST_F(SharedTest, WhatThrowsInAnUpdateLeavesTheOldValueAndTheLock) {
  Shared<Reading> shared{reading_of(1)};
  EXPECT_THROW((void)shared.update([](Reading& it) {
    it = reading_of(2);
    throw std::runtime_error{"no"};
  }),
               std::runtime_error);
  EXPECT_EQ(shared.read().value(), reading_of(1));
  EXPECT_TRUE(shared.update([](Reading& it) { it = reading_of(3); }, patience));
}

TEST_F(SharedTest, AnUpdateWithinAnUpdateIsAnErrorAndNoDeadlock) {
  Shared<Reading> shared{reading_of(1)};
  Result<Reading> inner{};
  EXPECT_TRUE(shared.update([&](Reading&) { inner = shared.update([](Reading&) {}); }));
  EXPECT_EQ(inner.error().kind, ErrorKind::invalid);
}

TEST_F(SharedTest, AnUpdateWaitsAsLongAsItWasTold) {
  Shared<Reading> shared{reading_of(1)};
  EXPECT_TRUE(shared.update([&](Reading&) {
    std::thread{[&] {
      const auto before = Clock::now();
      EXPECT_EQ(shared.update([](Reading&) {}, 60ms).error().kind, ErrorKind::timed_out);
      EXPECT_GE(Clock::now() - before, 60ms);
      EXPECT_EQ(shared.read().value(), reading_of(1)) << "a reader does not wait for a writer";
    }}.join();
  }));
}

TEST_F(SharedTest, AForkInAnUpdateUnlocksNothing) {
  Shared<Reading> shared{reading_of(1)};
  EXPECT_TRUE(shared.update([&](Reading&) {
    Forked child{[&]() -> int {
      return shared.update([](Reading&) {}, 1ms).error().kind == ErrorKind::timed_out ? 0 : 1;
    }};
    EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  }));
}

TEST_F(SharedTest, AValueThatIsNoneIsNotTaken) {
  EXPECT_EQ(Shared<Colour>::create(Colour{7}).error().kind, ErrorKind::invalid);
  Shared<Colour> shared{Colour::green};
  EXPECT_EQ(shared.update([](Colour& it) { it = Colour{9}; }).error().kind, ErrorKind::invalid);
  EXPECT_EQ(shared.read().value(), Colour::green);
}

TEST_F(SharedTest, BytesThatAreNoValueAreMalformed) {
  const Shared<Colour> shared{Colour::green};
  const auto data = MemoryMap::create(test::file_of(shared).get(), 4096, Access::read_write, 4096).value();
  std::fill_n(data.data(), 64, std::byte{0xFF});
  EXPECT_EQ(shared.read().error().kind, ErrorKind::malformed);
  const Shared<bool> flag{false};
  test::Words{flag}.at<std::uint8_t>(test::Words::first) = 7;
  EXPECT_TRUE(flag.load()) << "any byte but 0";
}

TEST_F(SharedTest, AnArrayKnowsItsBounds) {
  const std::array<double, 4> initial{1, 2, 3, 4};
  const SharedArray<double> array{std::span<const double>{initial}};
  EXPECT_EQ(array.size(), 4U);
  EXPECT_EQ(array.at(3), 4);
  EXPECT_THROW((void)array.at(4), Failure);
  EXPECT_TRUE(std::equal(initial.begin(), initial.end(), array.span().begin()));
  EXPECT_EQ(SharedArray<double>::create({}).error().kind, ErrorKind::invalid);
  for (const std::size_t many : {SIZE_MAX, SIZE_MAX / 8, std::size_t{1} << 38U})
    EXPECT_EQ(SharedArray<double>::create({.elements = many}).error().kind, ErrorKind::invalid) << many;
}

TEST_F(SharedTest, SizeAloneMakesAnArrayOfZeros) {
  const SharedArray<Pair> array{{.elements = 1000}};
  for (const Pair& pair : array.span()) ASSERT_EQ(pair, Pair{});
}

TEST_F(SharedTest, SlicesAreTheWholeArrayInOrder) {
  const SharedArray<char> array{{.elements = 10}};
  for (const std::size_t parts : {1U, 3U, 10U, 13U}) {
    std::size_t at = 0;
    for (std::size_t part = 0; part < parts; ++part) {
      const auto slice = array.slice(part, parts);
      EXPECT_TRUE(slice.empty() || slice.data() == array.span().data() + at);
      EXPECT_LE(slice.size(), 10 / parts + 1);
      at += slice.size();
    }
    EXPECT_EQ(at, 10U);
    EXPECT_TRUE(array.slice(parts, parts).empty());
  }
}

// ---- what another process hands over ----------------------------------------------------------------------

class HostileShared : public test::NothingLeft {
 protected:
  /// A file like that of a mutex, whose maker may have left something out.
  static OwnedFd forged(std::size_t bytes, int seals, bool allocated = true) {
    OwnedFd file{::memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    const OwnedFd real = test::file_of(Mutex{});
    std::array<std::byte, 64> header{};
    EXPECT_EQ(::pread(real.get(), header.data(), header.size(), 0), 64);
    if (allocated)
      EXPECT_EQ(::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)), 0);
    else
      EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(bytes)), 0);
    EXPECT_EQ(::pwrite(file.get(), header.data(), std::min(bytes, header.size()), 0),
              static_cast<ssize_t>(std::min(bytes, header.size())));
    EXPECT_EQ(::fcntl(file.get(), F_ADD_SEALS, seals), 0);
    return file;
  }
  static constexpr int size_seals = F_SEAL_SHRINK | F_SEAL_GROW;
};

TEST_F(HostileShared, AFileThatIsAsItShouldBeIsTaken) {
  EXPECT_TRUE(test::from_file<Mutex>(forged(4096, size_seals)));
}

TEST_F(HostileShared, AFileThatCouldBeCutShortIsNot) {
  EXPECT_FALSE(test::from_file<Mutex>(forged(4096, 0)));
  EXPECT_FALSE(test::from_file<Mutex>(forged(4096, F_SEAL_GROW)));
}

TEST_F(HostileShared, NorOneOfAnotherLength) {
  for (const std::size_t bytes : {1U, 39U, 4095U, 4097U, 8192U})
    EXPECT_FALSE(test::from_file<Mutex>(forged(bytes, size_seals))) << bytes;
}

TEST_F(HostileShared, NorOneWithAHole) {
  const OwnedFd real = test::file_of(SharedArray<char>{{.elements = 8192}});
  ASSERT_EQ(::fallocate(real.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192), 0);
  EXPECT_FALSE(test::from_file<SharedArray<char>>(OwnedFd{::dup(real.get())}));
}

TEST_F(HostileShared, NorWhatIsNoMemory) {
  EXPECT_FALSE(test::from_file<Mutex>(OwnedFd{::open("/dev/null", O_RDWR | O_CLOEXEC)}));
  EXPECT_FALSE(test::from_file<Mutex>(OwnedFd{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)}));
}

TEST_F(HostileShared, NorWhatIsSomethingElse) {
  EXPECT_FALSE(test::from_file<Mutex>(test::file_of(Event{})));
  EXPECT_FALSE(test::from_file<Mutex>(test::file_of(RecursiveMutex{})));
  EXPECT_FALSE(test::from_file<Shared<int>>(test::file_of(Shared<unsigned>{1})));
  EXPECT_FALSE(test::from_file<SharedArray<Pair>>(test::file_of(SharedArray<double>{})));
  EXPECT_TRUE(test::from_file<Shared<int>>(test::file_of(Shared<int>{1})));
}

TEST_F(HostileShared, NorOneWithADamagedHeader) {
  for (std::size_t at = 0; at < 40; at += 4) {
    const SharedArray<int> array;
    test::Words{array}.at<std::uint32_t>(at) ^= 0x0010'0080;  // of the length: a page at least
    EXPECT_FALSE(test::from_file<SharedArray<int>>(test::file_of(array))) << at;
  }
}

TEST_F(HostileShared, WhatWasMovedFromIsNotHandedOver) {
  Mutex mutex;
  const Mutex other{std::move(mutex)};
  DescriptorList descriptors{1};
  std::array<std::byte, 64> bytes{};
  EXPECT_FALSE(encode(mutex, bytes, &descriptors));
  EXPECT_TRUE(encode(other, bytes, &descriptors));
}

}  // namespace
}  // namespace troupe
