// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <troupe/transport/doorbell.hpp>
#include <vector>

#include "transport/nothing_left.hpp"
#include "transport/shared_value.hpp"
#include "transport/stepper.hpp"

// Something that works on shared files is stopped at each of its instructions, and judged.
//
// A point is a boundary between two instructions. What is judged at each is never what the bytes look like,
// but what a fresh peer makes of them: it attaches to the files alone, goes on, and must end with every
// message exactly once. In the snapshot form it works on copies, in the kill form the child has really died
// there. Mutants, which break one rule each, show that the judge would notice.
namespace troupe::test {

/// What the child has done, in its own words; the judge compares it with what the files say.
struct Journal {
  static constexpr std::size_t messages_max = 8;

  std::uint64_t steps = 0;                            ///< stages of a making that are done
  std::uint64_t sent = 0;                             ///< calls of publish() that have returned
  std::uint64_t committed = 0;                        ///< calls of commit() that have returned
  std::array<std::uint64_t, messages_max> handled{};  ///< how often a handler has had its effect

  friend bool operator==(const Journal&, const Journal&) = default;
};

void write(std::uint64_t& word, std::uint64_t value);

enum class Fault { none, torn, lost, stuck, twice };

struct Verdict {
  Fault fault = Fault::none;
  std::string text{};
  bool redelivered = false;  ///< a message is offered again whose handler had its effect; its attempt says so
  bool unrung =
      false;  ///< a message is there, and the sleeper's bell has not been rung: who sees a death rings it
};

/// Whoever wants to look at real files or at copies of them.
using Files = std::span<const int>;

/// Something to be stepped: the files it works on, what the child does, and how a fresh peer goes on from
/// there.
class Scenario {
 public:
  Scenario() = default;
  Scenario(const Scenario&) = delete;
  virtual ~Scenario() = default;

  /// In the child. Between its two marks it goes the same way each time.
  virtual void run() = 0;
  [[nodiscard]] virtual std::vector<int> files() const = 0;
  [[nodiscard]] virtual Verdict judge(Files files, const Journal& journal) const = 0;

  [[nodiscard]] Journal& journal() const { return *journal_; }
  [[nodiscard]] bool is_rung() const;

 protected:
  OwnedFd bell = create_bell().value();

 private:
  SharedValue<Journal> journal_;
};

using Factory = std::function<std::unique_ptr<Scenario>()>;

template <class S, class... Arguments>
[[nodiscard]] Factory making(Arguments... arguments) {
  return [=] { return std::make_unique<S>(arguments...); };
}

struct Tally {
  std::size_t points = 0;
  std::size_t judged = 0;  ///< those that differ from the point before
  std::array<std::size_t, 5> faults{};
  std::size_t redelivered = 0;
  std::size_t unrung = 0;
  std::size_t astray = 0;  ///< runs that went another way than the recorded one (memcpy goes by addresses)
  std::string first{};

  void add(const Verdict& verdict);
  [[nodiscard]] std::size_t of(Fault fault) const { return faults.at(static_cast<std::size_t>(fault)); }
  [[nodiscard]] std::size_t caught() const { return points - of(Fault::none); }
  void print(const char* form, const char* what) const;
};

/// Snapshot form.
[[nodiscard]] Tally step_through(const Factory& make);
/// Kill form, at every `stride`-th point.
[[nodiscard]] Tally kill_at_each(const Factory& make, std::size_t stride);

class SteppingTest : public NothingLeft {
 protected:
  void SetUp() override;
  static void expect_sound(const Tally& tally);
  /// Killed at every `stride`-th point, unless TROUPE_STEP_STRIDE says otherwise.
  static void expect_sound_in_both_forms(const char* what, const Factory& make, std::size_t stride = 1);
  static Tally expect_caught(const char* what, const Factory& make, Fault fault);
};

}  // namespace troupe::test
