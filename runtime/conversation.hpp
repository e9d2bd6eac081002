// SPDX-License-Identifier: MIT
#pragma once
// Internal. Programs that run together, and what is said to and by them.

#include <memory>
#include <string_view>
#include <troupe/runtime/pump.hpp>
#include <troupe/runtime/running_program.hpp>
#include <vector>

namespace troupe::detail {

/// Which pipes a call may move: those whose turn it has.
struct Moves {
  bool feed = true;
  bool intakes = true;
  int knock = -1;  ///< a descriptor for which it also looks up
};

/// Owner: a call with the turns that its Moves name; who has both may call finish().
class Conversation {
 public:
  explicit Conversation(Duration drain_within) : drain_within_{drain_within} {}

  std::vector<std::unique_ptr<RunningProgram>> programs{};
  Feed feed{};
  Intake output{};
  Intake error{};

  [[nodiscard]] bool ended() const;  ///< all of them
  [[nodiscard]] std::string names() const;

  /// Moves what may be moved until done() or the deadline: whether done(). `full` where nothing goes on since
  /// what came is not taken.
  template <class Done>
  [[nodiscard]] Result<bool> move_until(const Done& done, Moves moves, TimePoint deadline) {
    while (!done()) {
      if (moves.intakes && (output.over() || error.over())) return unread();
      const bool moved = move(moves, deadline);
      if (!moved || Clock::now() >= deadline) return done();
    }
    return true;
  }

  /// Feeds, closes the input, reads to the end, waits for the ends; of output that outlives them for
  /// drain_within. `timed_out`, `full`. What was_cut() then says is whether somebody still held it.
  [[nodiscard]] Result<void> finish(TimePoint deadline);
  [[nodiscard]] bool was_cut() const noexcept { return cut_; }

  /// Climbs the ladder, for all at once. `timed_out` when one survives.
  [[nodiscard]] Result<void> stop(const StopLadder& ladder, Moves moves);

 private:
  [[nodiscard]] bool move(Moves moves, TimePoint deadline);
  [[nodiscard]] bool ask(int number, Moves moves, Duration within);
  [[nodiscard]] bool at_its_end();
  void cut();
  [[nodiscard]] tl::unexpected<Error> unread() const;

  Duration drain_within_;
  TimePoint drained_at_ = never;  ///< from the end on
  bool cut_ = false;
};

/// The last lines of what a program said, for an error.
[[nodiscard]] std::string last_lines(std::string_view text);

}  // namespace troupe::detail
