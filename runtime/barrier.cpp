// SPDX-License-Identifier: MIT
#include <troupe/runtime/barrier.hpp>

#include <optional>
#include <troupe/runtime/process_table.hpp>

namespace troupe {
namespace {

using detail::Guarded;
using detail::ProcessTable;
using detail::SharedFile;

enum class Broken : std::uint32_t { no, by_death, by_deadline, by_abort, by_action };

struct Words {
  detail::EventCount changed;
  std::atomic<std::uint32_t> parties;
  std::atomic<std::uint32_t> arrived;  ///< in this round; all of them while the last one acts
  std::atomic<std::uint32_t> broken;
  std::atomic<std::uint32_t> round;
  std::atomic<std::uint64_t> passed;  ///< a bit for each of the last 64 rounds: whether all had come
  detail::LookClock looked;
  ProcessTable members;
};

Words& words_of(const SharedFile& file) noexcept { return file.words<Words>(); }

constexpr std::uint64_t bit_of(std::uint32_t round) noexcept { return std::uint64_t{1} << (round % 64); }

Broken broken_of(const Words& words) noexcept {
  return static_cast<Broken>(words.broken.load(std::memory_order_acquire));
}

Error error_of(Broken broken) {
  switch (broken) {
    case Broken::by_death: return {ErrorKind::down, 0, "barrier: broken, since a party died"};
    case Broken::by_deadline:
      return {ErrorKind::closed, 0, "barrier: broken, since a party did not wait any longer"};
    case Broken::by_abort: return {ErrorKind::closed, 0, "barrier: broken by abort()"};
    case Broken::by_action: return {ErrorKind::closed, 0, "barrier: broken, since its action threw"};
    case Broken::no: return {ErrorKind::closed, 0, "barrier: reset"};
  }
  return {ErrorKind::malformed, 0, "barrier: another process has overwritten it"};
}

/// The first reason counts.
void break_for(Words& words, Broken reason) noexcept {
  std::uint32_t whole = 0;
  words.broken.compare_exchange_strong(whole, static_cast<std::uint32_t>(reason), std::memory_order_acq_rel);
  words.changed.announce();
}

/// With the lock. The bit is there before the round moves on.
void next_round(Words& words, bool passed) noexcept {
  const std::uint32_t round = words.round.load(std::memory_order_relaxed);
  if (passed)
    words.passed.fetch_or(bit_of(round), std::memory_order_release);
  else
    words.passed.fetch_and(~bit_of(round), std::memory_order_release);
  words.arrived.store(0, std::memory_order_relaxed);
  words.round.store(round + 1, std::memory_order_release);
}

/// With the lock: whoever died in it has left something half-done.
void heed_death(Words& words, const Guarded& guard) noexcept {
  if (guard.after_death()) break_for(words, Broken::by_death);
}

/// How a round ended for one who came to it; none while it goes on.
std::optional<Result<std::size_t>> outcome_of(const Words& words, std::uint32_t round, std::uint32_t index) {
  if (words.round.load(std::memory_order_acquire) != round) {
    if ((words.passed.load(std::memory_order_acquire) & bit_of(round)) != 0) return std::size_t{index};
    return tl::unexpected<Error>{error_of(Broken::no)};
  }
  const Broken broken = broken_of(words);
  if (broken != Broken::no) return tl::unexpected<Error>{error_of(broken)};
  return std::nullopt;
}

void look_for_dead(const SharedFile& file) {
  Words& words = words_of(file);
  if (!words.looked.is_due()) return;
  Deadline soon{detail::guard_within};
  const Guarded guard{file.lock(), soon};
  if (!guard) return;
  heed_death(words, guard);
  if (words.members.reap() != 0) break_for(words, Broken::by_death);
}

/// With the lock.
Result<void> join(Words& words, detail::ProcessWord process) {
  const std::size_t place = words.members.place_of(process);
  if (place == ProcessTable::none) return failure(ErrorKind::exhausted, "barrier: it has 240 members");
  words.members.set(place, 1);
  return {};
}

/// Whatever it takes: a process that was stopped with the lock is only waited for so long.
template <class Change>
void change(const SharedFile& file, Change change) noexcept {
  Deadline soon{detail::guard_within};
  const Guarded guard{file.lock(), soon};
  change(words_of(file));
  words_of(file).changed.announce();
}

}  // namespace

// ---- who takes part ---------------------------------------------------------------------------------------

Barrier::Member::~Member() {
  const auto self = detail::own_process_word();
  if (!self) return;
  ProcessTable& members = words_of(*file).members;
  if (const std::size_t place = members.find(*self); place != ProcessTable::none) members.set(place, 0);
}

auto Barrier::joined(const std::shared_ptr<SharedFile>& file) -> Result<std::shared_ptr<const Member>> {
  const auto self = detail::own_process_word();
  if (!self) return tl::unexpected<Error>{self.error()};
  Deadline soon{detail::guard_within};
  Guarded guard{file->lock(), soon};
  if (!guard) return tl::unexpected<Error>{std::move(guard.error())};
  heed_death(words_of(*file), guard);
  if (auto done = join(words_of(*file), *self); !done) return failure(std::move(done));
  return std::make_shared<const Member>(file);
}

void Barrier::enlist(const SharedFile& file, std::int32_t pid) {
  const auto process = detail::process_word_of(pid);
  Deadline soon{detail::guard_within};
  const Guarded guard{file.lock(), soon};
  if (!guard) return;
  // Gone before it could be looked at: a party that will not come.
  if (!process || !join(words_of(file), *process)) break_for(words_of(file), Broken::by_death);
}

// ---- Barrier ----------------------------------------------------------------------------------------------

Barrier::Barrier(BarrierOptions options) : Barrier{create(options).value()} {}

Result<Barrier> Barrier::create(BarrierOptions options) {
  if (options.parties == 0) return failure(ErrorKind::invalid, "barrier: 0 parties never come together");
  auto file = SharedFile::create(spec);
  if (!file) return failure(std::move(file));
  words_of(**file).parties.store(options.parties);
  return Barrier{std::move(*file)};
}

Result<std::size_t> Barrier::wait(Duration within, const Action& action) const {
  Deadline deadline{within};
  Words& words = words_of(*member_->file);
  Result<Ticket> ticket{};
  const bool decided = words.changed.wait(deadline, [&] {
    ticket = try_arrive();
    return ticket || ticket.error().kind != ErrorKind::timed_out;
  });
  if (!decided) break_for(words, Broken::by_deadline);
  if (!ticket) return failure(std::move(ticket));
  return ticket->index + 1 == parties() ? lead(*ticket, action) : follow(*ticket, deadline);
}

Result<Barrier::Ticket> Barrier::try_arrive() const {
  const auto self = detail::own_process_word();
  if (!self) return tl::unexpected<Error>{self.error()};
  const SharedFile& file = *member_->file;
  Words& words = words_of(file);
  look_for_dead(file);
  Deadline soon{detail::guard_within};
  Guarded guard{file.lock(), soon};
  if (!guard) return tl::unexpected<Error>{std::move(guard.error())};
  heed_death(words, guard);
  if (auto done = join(words, *self); !done) return failure(std::move(done));
  if (const Broken broken = broken_of(words); broken != Broken::no)
    return tl::unexpected<Error>{error_of(broken)};
  const std::uint32_t index = words.arrived.load(std::memory_order_relaxed);
  if (index >= parties()) return failure(ErrorKind::timed_out, "barrier: the last round's action still runs");
  words.arrived.store(index + 1, std::memory_order_relaxed);
  return Ticket{words.round.load(std::memory_order_relaxed), index};
}

Result<std::size_t> Barrier::lead(Ticket ticket, const Action& action) const {
  const SharedFile& file = *member_->file;
  Words& words = words_of(file);
  try {
    if (action) action();
  } catch (...) {
    break_for(words, Broken::by_action);
    throw;
  }
  Deadline soon{detail::guard_within};
  Guarded guard{file.lock(), soon};
  if (!guard) {
    break_for(words, Broken::by_deadline);
    return tl::unexpected<Error>{std::move(guard.error())};
  }
  heed_death(words, guard);
  if (auto over = outcome_of(words, ticket.round, ticket.index)) return std::move(*over);
  next_round(words, true);
  words.changed.announce();
  return std::size_t{ticket.index};
}

Result<std::size_t> Barrier::follow(Ticket ticket, Deadline& deadline) const {
  const SharedFile& file = *member_->file;
  Words& words = words_of(file);
  std::optional<Result<std::size_t>> over;
  const bool decided = words.changed.wait(deadline, [&] {
    look_for_dead(file);
    over = outcome_of(words, ticket.round, ticket.index);
    return over.has_value();
  });
  if (!decided) {
    // With the lock, so that the round is not completed at this very moment.
    Deadline soon{detail::guard_within};
    const Guarded guard{file.lock(), soon};
    over = outcome_of(words, ticket.round, ticket.index);
    if (!over) break_for(words, Broken::by_deadline);
  }
  if (over) return std::move(*over);
  return failure(ErrorKind::timed_out, "barrier: not all parties came");
}

void Barrier::abort() const noexcept { break_for(words_of(*member_->file), Broken::by_abort); }

void Barrier::reset() const noexcept {
  change(*member_->file, [](Words& words) {
    words.members.reap();
    next_round(words, false);
    words.broken.store(0, std::memory_order_release);
  });
}

bool Barrier::broken() const noexcept { return broken_of(words_of(*member_->file)) != Broken::no; }

std::uint32_t Barrier::parties() const noexcept {
  return words_of(*member_->file).parties.load(std::memory_order_relaxed);
}

std::uint32_t Barrier::waiting() const noexcept {
  const Words& words = words_of(*member_->file);
  return broken() ? 0 : words.arrived.load(std::memory_order_relaxed);
}

}  // namespace troupe
