// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <troupe/transport/frozen.hpp>

#include "leaves_nothing.hpp"
#include "printing.hpp"
#include "transport/memory_watch.hpp"
#include "wire.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Inbox;
using test::patience;
using test::say;

/// Arguments that hold descriptors, by both ways to start a process.
class ProcessDescriptors : public test::LeavesNothing, public ::testing::WithParamInterface<StartMethod> {
 protected:
  [[nodiscard]] static ProcessOptions options() { return {.method = GetParam()}; }

  static ExitReport run(Process process) {
    process.start().value();
    return process.join(patience).value();
  }

  Inbox inbox{};
};

INSTANTIATE_TEST_SUITE_P(Methods, ProcessDescriptors,
                         ::testing::Values(StartMethod::forkserver, StartMethod::spawn),
                         [](const auto& one) { return ::testing::PrintToString(one.param); });

struct Ends {
  Descriptor read{};
  Descriptor write{};
};

Ends make_pipe() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  return {{OwnedFd{ends[0]}}, {OwnedFd{ends[1]}}};
}

/// What comes until the last writing end is closed.
std::string read_all(int fd) {
  std::string text;
  std::array<char, 256> part{};
  for (ssize_t got = 0; (got = ::read(fd, part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(got));
  return text;
}

int file_of(const Blob& blob, DescriptorList& list) {
  std::array<std::byte, 16> bytes{};
  EXPECT_TRUE(encode(blob, std::span{bytes}, &list));
  return list.borrowed().back();
}

// ---- what arrives -----------------------------------------------------------------------------------

std::size_t sum_of(std::span<const std::byte> bytes) {
  std::size_t sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<std::size_t>(byte);
  return sum;
}

void sum_up(const std::string& inbox, const Blob& blob) {
  say(inbox, std::to_string(sum_of(blob.bytes().value())));
}

TEST_P(ProcessDescriptors, ABlobIsReadInPlace) {
  constexpr std::size_t bytes = std::size_t{64} << 20U;
  const Blob blob = Blob::create(bytes, [](std::span<std::byte> room) {
                      std::memset(room.data(), 1, room.size());
                    }).value();
  EXPECT_EQ(run({options(), sum_up, inbox.path(), blob}).reason, ExitReason{});
  EXPECT_EQ(inbox.next(), std::to_string(bytes));
}

TEST_P(ProcessDescriptors, ABlobIsFreedAlthoughItsReaderWasKilled) {
  constexpr auto hold = [](const std::string& path, const Blob& blob) {
    say(path, std::to_string(blob.bytes().value().size()));
    test::wait_for_ever();
  };
  std::optional<Blob> blob{Blob::create(std::vector<std::byte>(1 << 20U)).value()};
  std::optional<DescriptorList> list{8};
  const test::MemoryWatch memory{file_of(*blob, *list)};
  Process process{{.daemon = true, .method = GetParam()}, hold, inbox.path(), *blob};
  list.reset();
  blob.reset();
  process.start().value();
  EXPECT_EQ(inbox.next_number(), 1 << 20);
  EXPECT_FALSE(memory.freed(Clock::now()));
  process.kill().value();
  process.join(patience).value();
  EXPECT_TRUE(memory.freed(deadline_in(patience)));
}

TEST_P(ProcessDescriptors, AFrozenValueIsTheSameEverywhere) {
  constexpr auto look = [](const std::string& path, const Frozen<std::vector<std::uint64_t>>& table,
                           const Frozen<std::string>& text) {
    say(path, std::to_string(table.get()[999]) + std::string{text.get().begin(), text.get().end()});
  };
  std::vector<std::uint64_t> table(1000);
  table[999] = 17;
  const auto frozen = Frozen<std::vector<std::uint64_t>>::create(table).value();
  const auto text = Frozen<std::string>::create("!").value();
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(is_normal(run({options(), look, inbox.path(), frozen, text}).reason.cause));
  EXPECT_EQ(inbox.next(), "17!");
  EXPECT_EQ(inbox.next(), "17!");
}

void write_into(const Descriptor& end, std::string text) {
  if (::write(end.fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::abort();
}

TEST_P(ProcessDescriptors, AnEndThatWasMovedInHasLeftThisProcess) {
  Ends pipe = make_pipe();
  Process process{options(), write_into, std::move(pipe.write), "hello"};
  process.start().value();
  EXPECT_EQ(read_all(pipe.read.fd.get()),
            "hello");  // ends: nobody else holds the writing end, the keeper included
  EXPECT_TRUE(is_normal(process.join(patience).value().reason.cause));
}

TEST_P(ProcessDescriptors, TheEndOfAProcessThatWasKilledIsSeenByItsPeer) {
  constexpr auto hold = [](const std::string& path, const Descriptor&) {
    say(path, "there");
    test::wait_for_ever();
  };
  Ends pipe = make_pipe();
  Process process{{.daemon = true, .method = GetParam()}, hold, inbox.path(), std::move(pipe.write)};
  process.start().value();
  EXPECT_EQ(inbox.next(), "there");
  process.kill().value();
  EXPECT_EQ(read_all(pipe.read.fd.get()), "");
  process.join(patience).value();
}

TEST_P(ProcessDescriptors, AProcessThatIsNeverStartedGivesUpWhatWasMovedIn) {
  Ends pipe = make_pipe();
  { const Process process{options(), write_into, std::move(pipe.write), "never"}; }
  EXPECT_EQ(read_all(pipe.read.fd.get()), "");
}

struct Picky {
  Descriptor end{};
  template <class Archive>
  void save(Archive& archive) const {
    archive(end);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(end);
    throw std::runtime_error{"not in this process"};
  }
};

TEST_P(ProcessDescriptors, AStartThatFailsGivesUpWhatWasMovedIn) {
  Ends pipe = make_pipe();
  const auto report = run({options(), [](const Picky&) {}, Picky{std::move(pipe.write)}});
  EXPECT_NE(report.reason.detail.find("not in this process"), std::string::npos) << report;
  EXPECT_EQ(read_all(pipe.read.fd.get()), "");
}

TEST_P(ProcessDescriptors, ManyArriveInTheirOrderAndNothingElseIsOpen) {
  constexpr auto check = [](const std::string& path, const std::vector<Descriptor>& ends) {
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const std::string text = std::to_string(i) + " ";
      if (::write(ends[i].fd.get(), text.data(), text.size()) == -1) std::abort();
    }
    int open = 0;
    for (int fd = 0; fd < 1024; ++fd) open += ::fcntl(fd, F_GETFD) == -1 ? 0 : 1;
    say(path, std::to_string(open - static_cast<int>(ends.size())));
  };
  constexpr std::size_t count = 40;
  Ends pipe = make_pipe();
  std::vector<Descriptor> ends;
  std::string expected;
  for (std::size_t i = 0; i < count; ++i) {
    ends.push_back({OwnedFd{::fcntl(pipe.write.fd.get(), F_DUPFD_CLOEXEC, 3)}});
    expected += std::to_string(i) + " ";
  }
  pipe.write.fd.reset();
  EXPECT_TRUE(is_normal(run({options(), check, inbox.path(), std::move(ends)}).reason.cause));
  EXPECT_EQ(read_all(pipe.read.fd.get()), expected);
  EXPECT_LE(inbox.next_number(), 5);  // 0 to 2, the channel, and the inbox that it writes to
}

TEST_P(ProcessDescriptors, TooManyAreExhaustedBeforeAnythingIsStarted) {
  Ends pipe = make_pipe();
  std::vector<Descriptor> ends;
  for (int i = 0; i < 49; ++i) ends.push_back({OwnedFd{::fcntl(pipe.write.fd.get(), F_DUPFD_CLOEXEC, 3)}});
  try {
    const Process process{options(), [](const std::vector<Descriptor>&) {}, std::move(ends)};
    FAIL() << "took 49 descriptors";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error.kind, ErrorKind::exhausted) << failure.error;
  }
}

}  // namespace
}  // namespace troupe
