// SPDX-License-Identifier: MIT
// A node as its program sees it: what starts, what is known of it, how it stops.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "actor_test.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using supervision::ChildState;
using test::Gate;
using test::Inbox;
using test::patience;

struct Ping {
  using reply = int;
};
struct Note {
  std::string text{};
};
struct Quit {};
struct Fail {
  std::string why{};
};

/// Says by its inbox what happens to it, if it has one.
struct Guest {
  using accepts = messages<Ping, Note, Quit, Fail>;
  std::string inbox{};
  std::string name{};
  void start(Self& self) { name = self.name(); }
  void stop(Self&) {
    if (!inbox.empty()) test::say(inbox, name + " stops");
  }
  int on(const Ping&) { return ::getpid(); }
  void on(const Note& note, Self& self) { self.note(note.text); }
  void on(const Quit&, Self& self) { self.stop(); }
  void on(const Fail& fail, Self& self) { self.fail(fail.why); }
};

class NodeTest : public test::ActorTest {};

// ---- starting -----------------------------------------------------------------------------------------

TEST_F(NodeTest, ListsItsChildrenInStartOrder) {
  for (const char* const name : {"walter", "anna", "zoe"}) node.spawn<Guest>(name).value();
  const auto children = node.children().value();
  ASSERT_EQ(children.size(), 3U);
  EXPECT_EQ(children[0].name, "walter");
  EXPECT_EQ(children[1].name, "anna");
  EXPECT_EQ(children[2].name, "zoe");
  for (const ChildInfo& child : children) {
    EXPECT_EQ(child.state, ChildState::running);
    EXPECT_EQ(child.incarnation, 1U);
    EXPECT_EQ(node.ref<Guest>(child.name).ask(Ping{}, patience).value(), child.pid);
  }
}

TEST_F(NodeTest, ASpawnedActorServesLikeAForkedOne) {
  const auto guest = node.spawn<Guest>("guest", {.method = StartMethod::spawn}).value();
  EXPECT_EQ(guest.ask(Ping{}, patience).value(), test::child(node, "guest")->pid);
  node.signal("guest", SIGKILL).value();
  ASSERT_TRUE(test::reaches(node, "guest", ChildState::running, 2));
  EXPECT_EQ(guest.ask(Ping{}, patience).value(), test::child(node, "guest")->pid);
}

TEST_F(NodeTest, ANameThatIsTakenIsInvalidAndItsOwnerUntouched) {
  const auto guest = node.spawn<Guest>("guest").value();
  const int pid = guest.ask(Ping{}, patience).value();
  EXPECT_EQ(node.spawn<Guest>("guest").error().kind, ErrorKind::invalid);
  EXPECT_EQ(guest.ask(Ping{}, patience).value(), pid);
  EXPECT_EQ(node.children().value().size(), 1U);
}

TEST_F(NodeTest, ANameIsNeitherEmptyNorTooLong) {
  EXPECT_EQ(node.spawn<Guest>("").error().kind, ErrorKind::invalid);
  EXPECT_EQ(node.spawn<Guest>(std::string(64, 'x')).error().kind, ErrorKind::invalid);
  EXPECT_TRUE(node.spawn<Guest>(std::string(63, 'x')));
}

struct Unwilling {
  using accepts = messages<Ping>;
  void start(Self&) { throw std::runtime_error{"no licence in this folder"}; }
  int on(const Ping&) { return 0; }
};
struct Stillborn {
  using accepts = messages<Ping>;
  explicit Stillborn(const std::string& why) { throw std::runtime_error{why}; }
  int on(const Ping&) { return 0; }
};

TEST_F(NodeTest, AnActorThatDoesNotComeUpIsRefusedWithItsOwnWords) {
  const ChildOptions once{.restart = Restart::temporary};
  const auto unwilling = node.spawn<Unwilling>("unwilling", once);
  EXPECT_EQ(unwilling.error().kind, ErrorKind::refused);
  EXPECT_NE(unwilling.error().text.find("no licence in this folder"), std::string::npos)
      << unwilling.error().text;
  const auto stillborn = node.spawn<Stillborn>("stillborn", once, std::string{"argument says no"});
  EXPECT_NE(stillborn.error().text.find("argument says no"), std::string::npos) << stillborn.error().text;
  EXPECT_TRUE(node.children().value().empty());
  EXPECT_TRUE(node.spawn<Guest>("unwilling")) << "its name is free again";
}

TEST_F(NodeTest, APermanentActorIsTriedAgainBeforeItIsRefused) {
  const auto refused = node.spawn<Unwilling>("unwilling", {.restarts_max = 2, .backoff = {.first = 1ms}});
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_NE(refused.error().text.find("no licence in this folder"), std::string::npos)
      << refused.error().text;
}

struct Dawdler {
  using accepts = messages<Ping>;
  void start(Self&) { test::wait_for_ever(); }
  int on(const Ping&) { return 0; }
};

TEST_F(NodeTest, AnActorThatIsNotReadyInTimeIsRefused) {
  const auto refused = node.spawn<Dawdler>("dawdler", {.restart = Restart::temporary, .ready_within = 50ms});
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_NE(refused.error().text.find("not ready within"), std::string::npos) << refused.error().text;
}

TEST_F(NodeTest, ConstructorArgumentsReachEveryIncarnation) {
  const auto guest = node.spawn<Guest>("guest", {}, inbox.path()).value();
  node.signal("guest", SIGKILL).value();
  ASSERT_TRUE(test::reaches(node, "guest", ChildState::running, 2));
  guest.send(Quit{});
  EXPECT_EQ(inbox.next(), "guest stops");
}

// ---- what is known ----------------------------------------------------------------------------------------

TEST_F(NodeTest, AnActorsNoteAndCountsAreSeenFromOutside) {
  const auto guest = node.spawn<Guest>("guest").value();
  guest.send(Note{"reading page 7"});
  guest.ask(Ping{}, patience).value();
  const auto info = test::child(node, "guest").value();
  EXPECT_EQ(info.note, "reading page 7");
  EXPECT_GE(info.acknowledged, 1U);  // the question is answered before it is acknowledged
  guest.send(Note{std::string(500, 'n')});
  guest.ask(Ping{}, patience).value();
  EXPECT_EQ(test::child(node, "guest")->note, std::string(112, 'n'));
}

TEST_F(NodeTest, ItsHistoryTellsALifeStepByStep) {
  node.spawn<Guest>("guest").value();
  const int first = test::child(node, "guest")->pid;
  const auto so_far = node.history().value();
  node.signal("guest", SIGKILL).value();
  ASSERT_TRUE(test::reaches(node, "guest", ChildState::running, 2));
  node.stop_child("guest").value();
  std::vector<ChildState> states;
  const auto since = node.history(so_far.next).value().transitions;
  for (const Transition& step : since) {
    EXPECT_EQ(step.name, "guest");
    states.push_back(step.to);
  }
  // A replacement that acknowledged nothing comes after a pause.
  EXPECT_EQ(states, (std::vector{ChildState::clearing, ChildState::backing_off, ChildState::starting,
                                 ChildState::running, ChildState::stopping, ChildState::clearing,
                                 ChildState::stopped}));
  EXPECT_EQ(since.at(0).pid, first);
  EXPECT_EQ(since.at(0).reason.cause, ExitCause::signaled);
  EXPECT_EQ(since.at(0).reason.status, (ExitStatus{Signaled{SIGKILL, false}}));
  EXPECT_EQ(since.back().reason.cause, ExitCause::shutdown);
  EXPECT_TRUE(std::ranges::is_sorted(since, {}, &Transition::time));
}

TEST_F(NodeTest, TwoNodesWithTheSameNamesAreIndependent) {
  Node other;
  const auto here = node.spawn<Guest>("guest").value();
  const auto there = other.spawn<Guest>("guest").value();
  EXPECT_NE(here, there);
  EXPECT_NE(here.ask(Ping{}, patience).value(), there.ask(Ping{}, patience).value());
  node.stop_child("guest").value();
  EXPECT_EQ(here.send(Quit{}), Sent::closed);
  EXPECT_TRUE(there.ask(Ping{}, patience));
  EXPECT_EQ(test::deaths(other).size(), 0U);
}

// ---- signals
// ------------------------------------------------------------------------------------------------

TEST_F(NodeTest, SignalsOnlyWhatIsThere) {
  EXPECT_EQ(node.signal("nobody", SIGKILL).error().kind, ErrorKind::invalid);
  node.spawn<Guest>("guest").value();
  EXPECT_TRUE(node.signal("guest", 0));
  node.stop_child("guest").value();
  EXPECT_EQ(node.signal("guest", SIGKILL).error().kind, ErrorKind::down);
}

// ---- ends
// -----------------------------------------------------------------------------------------------------

TEST_F(NodeTest, StopsInReverseStartOrder) {
  for (const char* const name : {"first", "second", "third"})
    node.spawn<Guest>(name, {}, inbox.path()).value();
  node.stop().value();
  EXPECT_EQ(inbox.next(), "third stops");
  EXPECT_EQ(inbox.next(), "second stops");
  EXPECT_EQ(inbox.next(), "first stops");
  std::vector<std::string> order;
  for (const Transition& death : test::deaths(node)) {
    order.push_back(death.name);
    EXPECT_EQ(death.reason.cause, ExitCause::shutdown);
    EXPECT_EQ(death.reason.status, ExitStatus{Exited{0}});
  }
  EXPECT_EQ(order, (std::vector<std::string>{"third", "second", "first"}));
}

TEST_F(NodeTest, AStoppedNodeStartsNothingMore) {
  node.spawn<Guest>("guest").value();
  node.stop().value();
  EXPECT_FALSE(node.spawn<Guest>("late"));
  node.stop().value();
}

TEST_F(NodeTest, AChildThatWasStoppedStaysDownAndItsSiblingsGoOn) {
  const auto sibling = node.spawn<Guest>("sibling").value();
  node.spawn<Guest>("guest", {}, inbox.path()).value();
  node.stop_child("guest").value();
  EXPECT_EQ(inbox.next(), "guest stops");
  const auto info = test::child(node, "guest").value();
  EXPECT_EQ(info.state, ChildState::stopped);
  EXPECT_EQ(info.pid, 0);
  EXPECT_EQ(info.last_end.cause, ExitCause::shutdown);
  EXPECT_TRUE(sibling.ask(Ping{}, patience));
  node.stop_child("guest").value();
  EXPECT_EQ(node.stop_child("nobody").error().kind, ErrorKind::invalid);
}

struct Deaf {
  using accepts = messages<Ping>;
  int on(const Ping&) {
    ::signal(SIGTERM, SIG_IGN);
    test::wait_for_ever();
  }
};

TEST_F(NodeTest, AChildThatDoesNotListenIsKilledAtTheEndOfItsTime) {
  constexpr auto within = 200ms;
  const auto deaf = node.spawn<Deaf>("deaf", {.stop_within = within}).value();
  EXPECT_FALSE(deaf.ask(Ping{}, 20ms));
  const TimePoint begin = Clock::now();
  node.stop_child("deaf").value();
  EXPECT_GE(Clock::now() - begin, within);
  EXPECT_EQ(test::child(node, "deaf")->last_end.status, (ExitStatus{Signaled{SIGKILL, false}}));
}

TEST_F(NodeTest, EndsWithItsLastNonDaemon) {
  node.spawn<Guest>("lamp", {.daemon = true}, inbox.path()).value();
  const auto guest = node.spawn<Guest>("guest", {.restart = Restart::transient}).value();
  guest.send(Quit{});
  EXPECT_EQ(node.wait(), 0);
  EXPECT_EQ(inbox.next(0ns), "lamp stops");
  EXPECT_EQ(test::child(node, "guest")->last_end.cause, ExitCause::normal);
  EXPECT_EQ(test::child(node, "lamp")->last_end.cause, ExitCause::shutdown);
}

TEST_F(NodeTest, WaitEndsWithSigterm) {
  node.spawn<Guest>("guest", {}, inbox.path()).value();
  sigset_t term;
  sigset_t before;
  ::sigemptyset(&term);
  ::sigaddset(&term, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &term, &before);  // pending until wait() looks for it
  ::kill(::getpid(), SIGTERM);
  EXPECT_EQ(node.wait(), 0);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(inbox.next(0ns), "guest stops");
}

struct Employer {
  using accepts = messages<Ping>;
  std::string inbox{};
  Node own{};
  explicit Employer(std::string path) : inbox{std::move(path)} {}
  void start(Self&) {
    own.spawn<Guest>("employee", {}, inbox).value();
    test::say(inbox, std::to_string(own.children().value().at(0).pid));
  }
  int on(const Ping&) { return own.ref<Guest>("employee").ask(Ping{}, patience).value(); }
};

TEST_F(NodeTest, AnActorMayHaveANodeOfItsOwnThatEndsWithIt) {
  const auto employer = node.spawn<Employer>("employer", {}, inbox.path()).value();
  const test::Watched first{inbox.next_number()};
  EXPECT_EQ(employer.ask(Ping{}, patience).value(), first.pid());
  node.signal("employer", SIGKILL).value();
  EXPECT_EQ(inbox.next(), "employee stops");
  const test::Watched second{inbox.next_number()};
  EXPECT_TRUE(first.gone(0ns)) << "a replacement comes after the whole family is gone";
  EXPECT_EQ(employer.ask(Ping{}, patience).value(), second.pid());
}

}  // namespace
}  // namespace troupe
