// SPDX-License-Identifier: MIT
#include <troupe/runtime/conversation.hpp>

#include <algorithm>
#include <array>
#include <csignal>

namespace troupe::detail {

bool Conversation::ended() const {
  return std::ranges::all_of(programs, [](const auto& one) { return one->ended(); });
}

std::string Conversation::names() const {
  std::string all;
  for (const auto& one : programs) all += (all.empty() ? "" : " | ") + one->name();
  return all;
}

tl::unexpected<Error> Conversation::unread() const {
  const Intake& one = output.over() ? output : error;
  return failure(ErrorKind::full, names() + ": it said more than " + std::to_string(one.bytes_max()) +
                                      " bytes; try a larger output_bytes_max, or read meanwhile");
}

bool Conversation::move(Moves moves, TimePoint deadline) {
  std::vector<int> others{moves.knock};
  for (const auto& one : programs) others.push_back(one->ended() ? -1 : one->pidfd());
  std::array<Intake*, 2> intakes{};
  if (moves.intakes) intakes = {&output, &error};
  return pump(moves.feed ? &feed : nullptr, intakes, others, deadline);
}

/// All have ended and all they said was read; also settles until when it is waited for.
bool Conversation::at_its_end() {
  if (feed.open() && !feed.pending()) feed.close();
  if (!ended()) return false;
  if (drained_at_ == never) drained_at_ = deadline_in(drain_within_);
  feed.close();
  return !output.open() && !error.open();
}

/// Somebody holds the pipes of programs that are no more.
void Conversation::cut() {
  for (Intake* const one : {&output, &error}) {
    one->read_available();
    cut_ = cut_ || one->open();
  }
  if (output.over() || error.over()) return;
  output.close();
  error.close();
}

Result<void> Conversation::finish(TimePoint deadline) {
  for (;;) {
    const auto changed = [&, before = drained_at_] { return at_its_end() || drained_at_ != before; };
    auto moved = move_until(changed, {}, std::min(deadline, drained_at_));
    if (!moved) return failure(std::move(moved));
    if (at_its_end()) return {};
    if (Clock::now() >= drained_at_) {
      cut();
      if (output.over() || error.over()) return unread();
      return {};
    }
    if (Clock::now() >= deadline)
      return failure(ErrorKind::timed_out, names() + ": it has not ended in time");
  }
}

bool Conversation::ask(int number, Moves moves, Duration within) {
  for (const auto& one : programs) one->ask(number);
  const auto over = move_until([&] { return ended(); }, moves, deadline_in(within));
  return over && *over;
}

Result<void> Conversation::stop(const StopLadder& ladder, Moves moves) {
  if (moves.feed) feed.close();
  if (moves.intakes)
    for (Intake* const one : {&output, &error}) one->drop_rest();
  if (ladder.interrupt > Duration::zero() && ask(SIGINT, moves, ladder.interrupt)) return {};
  if (ladder.terminate > Duration::zero() && ask(SIGTERM, moves, ladder.terminate)) return {};
  if (ask(SIGKILL, moves, kill_within)) return {};
  return failure(ErrorKind::timed_out,
                 names() + ": not even SIGKILL has ended it; the kernel waits for something");
}

std::string last_lines(std::string_view text) {
  constexpr int lines_max = 5;
  constexpr std::size_t bytes_max = 500;
  while (text.ends_with('\n')) text.remove_suffix(1);
  std::size_t from = text.size();
  for (int lines = 0; lines < lines_max && from != std::string_view::npos && from > 0; ++lines)
    from = text.rfind('\n', from - 1);
  if (from != std::string_view::npos && from < text.size() && text[from] == '\n') ++from;
  if (from == std::string_view::npos) from = 0;
  text.remove_prefix(from);
  if (text.size() > bytes_max) text.remove_prefix(text.size() - bytes_max);
  return std::string{text};
}

}  // namespace troupe::detail
