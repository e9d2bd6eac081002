// SPDX-License-Identifier: MIT
// Each system call of locks and shared values fails in turn, and the limits of the process sink to nothing.
// See tests/support/transport/failing_calls.hpp and limits.hpp.
#include <gtest/gtest.h>

#include <array>
#include <troupe/runtime/barrier.hpp>
#include <troupe/runtime/condition.hpp>
#include <troupe/runtime/event.hpp>
#include <troupe/runtime/mutex.hpp>
#include <troupe/runtime/semaphore.hpp>
#include <troupe/runtime/shared.hpp>
#include <troupe/runtime/shared_array.hpp>

#include "transport/failing_calls.hpp"
#include "transport/limits.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Limit;
using test::NamedCase;
using test::require;
using test::simple_case;

constexpr Duration soon = 20s;

/// As it comes to another process: through descriptors and bytes.
template <class T>
Result<T> handed_over(const T& object) {
  DescriptorList sent{1};
  std::array<std::byte, 64> bytes{};
  auto size = encode(object, bytes, &sent);
  if (!size) return failure(std::move(size));
  DescriptorList arrived{std::move(sent).take()};
  return decode<T>(std::span{bytes}.first(*size), &arrived);
}

Result<void> use_a_mutex() {
  auto mutex = Mutex::create();
  if (!mutex) return failure(std::move(mutex));
  auto other = handed_over(*mutex);
  if (!other) return failure(std::move(other));
  auto lock = other->lock(soon);
  if (!lock) return failure(std::move(lock));
  require(mutex->locked() && !lock->owner_died(), "it is another mutex");
  lock->unlock();
  require(!mutex->locked(), "it is still locked");
  return {};
}

Result<void> use_a_semaphore() {
  auto semaphore = Semaphore::create({.permits = 2});
  if (!semaphore) return failure(std::move(semaphore));
  auto other = handed_over(*semaphore);
  if (!other) return failure(std::move(other));
  auto permit = other->acquire(soon);
  if (!permit) return failure(std::move(permit));
  require(semaphore->available() == 1, "it has another number of permits");
  return {};
}

Result<void> use_a_barrier_and_an_event() {
  auto barrier = Barrier::create();
  if (!barrier) return failure(std::move(barrier));
  auto other = handed_over(*barrier);
  if (!other) return failure(std::move(other));
  if (auto index = other->wait(soon); !index) return failure(std::move(index));
  auto event = Event::create();
  if (!event) return failure(std::move(event));
  event->set();
  return event->wait(soon);
}

Result<void> use_shared_values() {
  auto number = Shared<int>::create(3);
  if (!number) return failure(std::move(number));
  auto same = handed_over(*number);
  if (!same) return failure(std::move(same));
  require(same->fetch_add(1) == 3 && number->load() == 4, "it is another number");
  using Three = std::array<long, 3>;
  auto three = Shared<Three>::create({1, 2, 3});
  if (!three) return failure(std::move(three));
  if (auto changed = three->update([](Three& it) { it[0] = 4; }, soon); !changed)
    return failure(std::move(changed));
  require(three->read(soon).value() == Three{4, 2, 3}, "it has another value");
  auto array = SharedArray<double>::create({.elements = 5000});
  if (!array) return failure(std::move(array));
  array->at(4999) = 1;
  auto again = handed_over(*array);
  if (!again) return failure(std::move(again));
  require(again->at(4999) == 1, "it is another array");
  return {};
}

std::vector<NamedCase> cases() {
  return {simple_case("Mutex", use_a_mutex), simple_case("Semaphore", use_a_semaphore),
          simple_case("BarrierAndEvent", use_a_barrier_and_an_event),
          simple_case("Shared", use_shared_values)};
}

class SharedLimits : public test::NothingLeft, public ::testing::WithParamInterface<NamedCase> {};

TEST_P(SharedLimits, OfDescriptorsAreReported) {
  if (!test::can_step()) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  test::expect_sound(GetParam(), Limit::descriptors);
}
TEST_P(SharedLimits, OfAFilesSizeAreReportedAndKillNobody) {
  test::expect_sound(GetParam(), Limit::file_size);
}
TEST_P(SharedLimits, OfTheAddressSpaceAreReported) {
  if (!test::can_step()) GTEST_SKIP() << "a sanitizer reserves all addresses for itself";
  test::expect_sound(GetParam(), Limit::address_space);
}
TEST_P(SharedLimits, EachSystemCallMayFail) {
  if (!test::can_step()) GTEST_SKIP() << "a sanitizer makes calls of its own";
  const auto tally = test::fail_each_call(GetParam());
  tally.print(GetParam().name);
  EXPECT_GT(tally.calls, 5U);
  for (const auto& line : tally.wrong) ADD_FAILURE() << line;
}

INSTANTIATE_TEST_SUITE_P(Runtime, SharedLimits, ::testing::ValuesIn(cases()),
                         [](const auto& one) { return std::string{one.param.name}; });

}  // namespace
}  // namespace troupe
