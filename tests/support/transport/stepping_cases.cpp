// SPDX-License-Identifier: MIT
#include "stepping_cases.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/syscall.hpp>
#include <utility>

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

/// A judge's own mistakes count too: whatever makes a fresh peer fail is a fault of what it was left.
Verdict judged(const Scenario& scenario, Files files, const Journal& journal) {
  try {
    return scenario.judge(files, journal);
  } catch (const Failure& failure) {
    return {.fault = failure.error.kind == ErrorKind::malformed ? Fault::torn : Fault::stuck,
            .text = failure.what()};
  }
}

/// A shared file as the test sees it, and its copy of the last moment.
class Watched {
 public:
  /// `file` is borrowed for as long as this lives.
  explicit Watched(int file) : file_{file} {
    struct stat status {};
    ::fstat(file, &status);
    map_ = MemoryMap::create(file, static_cast<std::size_t>(status.st_size), Access::read).value();
    copy_.assign(map_.data(), map_.data() + map_.size());
  }
  [[nodiscard]] bool refresh() {
    const int seals = ::fcntl(file_, F_GET_SEALS);
    const bool same = std::exchange(seals_, seals) == seals;
    if (same && std::memcmp(copy_.data(), map_.data(), copy_.size()) == 0) return false;
    std::memcpy(copy_.data(), map_.data(), copy_.size());
    return true;
  }
  [[nodiscard]] OwnedFd copy() const {
    auto file = create_memory("test-copy", copy_.size()).value();
    if (::pwrite(file.get(), copy_.data(), copy_.size(), 0) != static_cast<ssize_t>(copy_.size()) ||
        ::fcntl(file.get(), F_ADD_SEALS, seals_) != 0) {
      throw Failure{{ErrorKind::system, errno, "copy of a shared file"}};
    }
    return file;
  }

 private:
  int file_;
  int seals_ = 0;
  MemoryMap map_;
  std::vector<std::byte> copy_;
};

Verdict judge_copies(const Scenario& scenario, const std::vector<Watched>& watched, const Journal& journal) {
  std::vector<OwnedFd> copies;
  std::vector<int> files;
  files.reserve(watched.size());
  for (const auto& file : watched) files.push_back(copies.emplace_back(file.copy()).get());
  return judged(scenario, files, journal);
}

/// As many instructions, wherever they lead; at most to the second mark.
void step_blindly(SteppedChild& child, std::size_t steps) {
  while (steps-- > 0 && child.step().value() == SteppedChild::Stop::instruction) {}
}

}  // namespace

void write(std::uint64_t& word, std::uint64_t value) { std::atomic_ref{word}.store(value); }

bool Scenario::is_rung() const {
  pollfd wanted{bell.get(), POLLIN, 0};
  return ::poll(&wanted, 1, 0) == 1;
}

void Tally::add(const Verdict& verdict) {
  ++points;
  ++faults.at(static_cast<std::size_t>(verdict.fault));
  redelivered += verdict.redelivered ? 1 : 0;
  unrung += verdict.unrung ? 1 : 0;
  if (verdict.fault != Fault::none && first.empty())
    first = "point " + std::to_string(points) + ": " + verdict.text;
}

void Tally::print(const char* form, const char* what) const {
  std::printf(
      "%-9s %-34s %6zu points: %zu torn, %zu lost, %zu stuck, %zu twice; %zu redelivered, %zu for the "
      "knock\n",
      form, what, points, of(Fault::torn), of(Fault::lost), of(Fault::stuck), of(Fault::twice), redelivered,
      unrung);
  std::fflush(stdout);
}

/// Snapshot form. The verdict is a function of the bytes, so a point whose bytes are those of the last is not
/// judged again.
Tally step_through(const Factory& make) {
  make()->run();
  const auto scenario = make();
  auto child = SteppedChild::create([&] { scenario->run(); }, deadline_in(100s)).value();
  std::vector<Watched> watched;
  for (const int file : scenario->files()) watched.emplace_back(file);
  Tally tally;
  Verdict verdict;
  Journal journal;
  bool rung = false;
  do {
    bool changed = tally.points == 0;
    for (auto& file : watched) changed |= file.refresh();
    changed |= std::exchange(rung, scenario->is_rung()) != rung;
    if (changed || journal != scenario->journal()) {
      journal = scenario->journal();
      verdict = judge_copies(*scenario, watched, journal);
      ++tally.judged;
    }
    tally.add(verdict);
  } while (child.step().value() == SteppedChild::Stop::instruction);
  return tally;
}

/// Kill form: the files are the real ones, and nothing else is left of the child.
Tally kill_at_each(const Factory& make, std::size_t stride) {
  make()->run();
  const auto recorded = make();
  const auto trace = test::record([&] { recorded->run(); }, deadline_in(100s)).value();
  Tally tally;
  for (std::size_t at = 0; at < trace.size(); at += stride) {
    auto scenario = make();
    auto child = SteppedChild::create([&] { scenario->run(); }, deadline_in(100s)).value();
    if (!child.advance(trace, at)) {
      ++tally.astray;
      child.kill();
      scenario = make();
      child = SteppedChild::create([&] { scenario->run(); }, deadline_in(100s)).value();
      step_blindly(child, at);
    }
    child.kill();
    tally.add(judged(*scenario, scenario->files(), scenario->journal()));
  }
  return tally;
}

void SteppingTest::SetUp() {
  if (!test::can_step()) GTEST_SKIP() << "a sanitizer's own instructions would be stepped too";
}

void SteppingTest::expect_sound(const Tally& tally) {
  EXPECT_GT(tally.points, 100U);
  EXPECT_EQ(tally.caught(), 0U) << tally.first;
}

void SteppingTest::expect_sound_in_both_forms(const char* what, const Factory& make, std::size_t stride) {
  const auto seen = step_through(make);
  seen.print("looked at", what);
  expect_sound(seen);
  const auto killed = kill_at_each(make, step_stride(stride));
  killed.print("killed at", what);
  EXPECT_EQ(killed.caught(), 0U) << killed.first;
  if (killed.astray != 0) std::printf("          of these, %zu were stepped all the way\n", killed.astray);
}

Tally SteppingTest::expect_caught(const char* what, const Factory& make, Fault fault) {
  auto tally = step_through(make);
  std::printf("mutant    %-34s %6zu points: caught at %zu (%zu torn, %zu lost, %zu stuck, %zu twice)\n", what,
              tally.points, tally.caught(), tally.of(Fault::torn), tally.of(Fault::lost),
              tally.of(Fault::stuck), tally.of(Fault::twice));
  std::fflush(stdout);
  EXPECT_GT(tally.of(fault), 0U) << "the judge did not notice";
  return tally;
}
}  // namespace troupe::test
