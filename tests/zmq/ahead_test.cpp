// SPDX-License-Identifier: MIT
// What may lie ahead of a receiver, at its owner and where it lies; without sockets.
#include <gtest/gtest.h>

#include <troupe/zmq/intake.hpp>
#include <troupe/zmq/ledger.hpp>

namespace troupe::zmq::detail {
namespace {

using namespace std::chrono_literals;

constexpr EndId sender = 1;
constexpr EndId receiver = 2;
constexpr std::uint64_t want = 1;

class ZmqLedger : public testing::Test {
 protected:
  Ledger& with(const QueueOptions& options, std::size_t items, std::size_t bytes = 8) {
    ledger.emplace(options);
    EXPECT_TRUE(ledger->admit(sender, wire::QueueRole::sender, {}, 0));
    EXPECT_TRUE(ledger->admit(receiver, wire::QueueRole::receiver, {}, 0));
    for (std::size_t i = 0; i < items; ++i) EXPECT_TRUE(ledger->put(sender, 0, Bytes(bytes)));
    return *ledger;
  }
  std::size_t give_all(std::uint64_t window) {
    std::size_t given = 0;
    for (; ledger->may_give(receiver, window); ++given) ledger->give(receiver, want);
    return given;
  }
  /// The attempts of what is given now.
  std::vector<std::uint32_t> attempts_given(std::uint64_t window) {
    std::vector<std::uint32_t> attempts;
    give_all(window);
    for (auto next = ledger->next_in_hand(receiver, 0); next;
         next = ledger->next_in_hand(receiver, next->number))
      attempts.push_back(next->attempt);
    return attempts;
  }
  void come_again() { EXPECT_TRUE(ledger->admit(receiver, wire::QueueRole::receiver, {}, 0)); }
  std::optional<Ledger> ledger;
};

TEST_F(ZmqLedger, GivesUpToTheWindowAndOneForEachThatIsBegun) {
  with({}, 20);
  EXPECT_EQ(give_all(4), 4U);
  EXPECT_TRUE(ledger->begin(receiver, 2));
  EXPECT_EQ(give_all(4), 2U);
  EXPECT_FALSE(ledger->begin(receiver, 7)) << "which it was never given";
}

TEST_F(ZmqLedger, GivesNoMoreBytesAheadThanItsBoundButOneAlways) {
  with({.ahead_bytes_max = 2000}, 20, 900);
  EXPECT_EQ(give_all(64), 2U);
  with({.ahead_bytes_max = 2000}, 20, 5000);
  EXPECT_EQ(give_all(64), 1U);
}

TEST_F(ZmqLedger, AnAcknowledgedItemAndEachBeforeItWasBegun) {
  with({}, 20);
  EXPECT_EQ(give_all(4), 4U);
  const auto third = ledger->next_in_hand(receiver, 2).value();
  ledger->settle(receiver, third.ticket, troupe::detail::Settlement::acknowledge);
  EXPECT_EQ(ledger->ahead(receiver), 1U);
  EXPECT_EQ(ledger->holders().front().items, 3U);
}

TEST_F(ZmqLedger, OfADeadReceiverTheFirstAheadAreInDoubtAndComeAloneNextTime) {
  with({.attempts_max = 1, .ahead_items_max = 8}, 5);  // two may be in doubt
  EXPECT_EQ(give_all(8), 5U);
  EXPECT_TRUE(ledger->begin(receiver, 1));
  ledger->remove_dead(receiver);
  EXPECT_EQ(ledger->quarantine().size(), 1U) << "the one in hand";
  EXPECT_EQ(ledger->counts().given_back, 3U);
  come_again();
  EXPECT_EQ(attempts_given(8), std::vector<std::uint32_t>{2}) << "alone";
  ledger->remove_dead(receiver);
  EXPECT_EQ(ledger->quarantine().size(), 2U) << "that it had begun this one is taken for sure";
  come_again();
  EXPECT_EQ(give_all(8), 1U);
  EXPECT_TRUE(ledger->begin(receiver, 1));
  EXPECT_EQ(attempts_given(8), (std::vector<std::uint32_t>{2, 1, 1})) << "these nobody had begun";
}

TEST_F(ZmqLedger, WhatIsGivenBackUnbegunWasNeverTaken) {
  with({.attempts_max = 1}, 5);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(give_all(8), 5U);
    ledger->give_back_ahead(receiver);
  }
  EXPECT_EQ(give_all(8), 5U);
  ledger->remove(receiver, 0);
  come_again();
  EXPECT_EQ(attempts_given(8), std::vector<std::uint32_t>(5, 1));
  EXPECT_EQ(ledger->counts(), (QueueCounts{.put = 5}));
}

class ZmqIntake : public testing::Test {
 protected:
  ZmqIntake() { intake.limit_to(16); }
  /// What the program does to want something, and what its owner may send then.
  std::uint64_t ask() {
    intake.ask(now);
    if (const auto told = intake.to_want()) {
      window = told->window;
      intake.wanted(++requests);
    }
    return window;
  }
  bool comes(std::uint64_t number) { return intake.on_item({.number = number}, requests, now); }

  Intake intake;
  TimePoint now = TimePoint{} + 1h;
  std::uint64_t requests = 0;
  std::uint64_t window = 0;
};

TEST_F(ZmqIntake, WidensItsWindowWhileTheProgramComesBackSoonAndClosesItWhenItDoesNot) {
  std::vector<std::uint64_t> windows;
  for (std::uint64_t number = 1; number <= 7; ++number) {
    windows.push_back(ask());
    ASSERT_TRUE(comes(number));
    intake.on_done(requests);
    static_cast<void>(intake.begin(now));
    now += 1ms;
  }
  EXPECT_EQ(windows, (std::vector<std::uint64_t>{0, 1, 2, 4, 8, 16, 16}));
  now += Intake::lie_within;
  EXPECT_EQ(ask(), 0U);
}

TEST_F(ZmqIntake, BeginsNoMoreThanItsOwnerMayBeInDoubtOf) {
  ask();
  for (std::uint64_t number = 1; number <= 8; ++number) ASSERT_TRUE(comes(number));
  int begun = 0;
  for (; intake.may_begin(); ++begun) static_cast<void>(intake.begin(now));
  EXPECT_EQ(begun, static_cast<int>(wire::doubtful_max(16)));
  ask();
  EXPECT_FALSE(intake.may_begin());
  intake.on_done(requests);
  EXPECT_TRUE(intake.may_begin());
}

TEST_F(ZmqIntake, GivesBackWhatHasLainTooLongAndWhatWasOnItsWay) {
  ask();
  ASSERT_TRUE(comes(1));
  ASSERT_TRUE(comes(2));
  EXPECT_EQ(intake.overdue_at(), now + Intake::lie_within);
  const std::uint64_t earlier = requests;
  intake.give_back(++requests);
  EXPECT_EQ(intake.overdue_at(), never);
  EXPECT_TRUE(intake.on_item({.number = 3}, earlier, now));
  EXPECT_FALSE(intake.may_begin());
  ask();
  EXPECT_TRUE(comes(1)) << "numbers go on behind what was begun";
  EXPECT_TRUE(intake.may_begin());
}

TEST_F(ZmqIntake, AsksForNothingMoreOnceItHasHeardOfTheEnd) {
  ask();
  intake.on_ended(requests);
  EXPECT_TRUE(intake.ended());
  for (int i = 0; i < 3; ++i) {
    ask();
    EXPECT_TRUE(intake.ended());
  }
  EXPECT_EQ(requests, 1U) << "each would be answered, and wake who waits";
}

TEST_F(ZmqIntake, DoesNotBelieveInAnEndThatItHeardOfBeforeItGaveAnItemBack) {
  ask();
  ASSERT_TRUE(comes(1));
  static_cast<void>(intake.begin(now));
  ask();
  const std::uint64_t earlier = requests;
  intake.on_ended(earlier);
  EXPECT_TRUE(intake.ended());
  intake.settled(++requests, 1);
  intake.gave_back();
  EXPECT_FALSE(intake.ended());
  intake.on_ended(earlier);
  EXPECT_FALSE(intake.ended()) << "it had been on its way";
  ask();
  EXPECT_GT(requests, earlier + 1) << "it asks anew";
  intake.on_ended(requests);
  EXPECT_TRUE(intake.ended());
}

TEST_F(ZmqIntake, TakesAnItemOnceAndRefusesWhatItNeverAskedFor) {
  ask();
  EXPECT_TRUE(comes(1));
  EXPECT_TRUE(comes(1)) << "sent again";
  EXPECT_FALSE(comes(3)) << "a gap";
  static_cast<void>(intake.begin(now));
  EXPECT_FALSE(intake.may_begin());
  for (std::uint64_t number = 2; number <= 17; ++number) ASSERT_TRUE(comes(number));
  EXPECT_FALSE(comes(18)) << "more than any window";
}

}  // namespace
}  // namespace troupe::zmq::detail
