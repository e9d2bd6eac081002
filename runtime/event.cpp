// SPDX-License-Identifier: MIT
#include <troupe/runtime/event.hpp>

namespace troupe {
namespace {

/// Odd: set. Each change counts on, so one that was undone is still seen.
bool is_odd(std::uint32_t count) noexcept { return count % 2 == 1; }

void become(detail::FutexWord& word, bool set) noexcept {
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  while (is_odd(seen) != set)
    if (word.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) break;
}

}  // namespace

Event::Event() : Event{create().value()} {}

Result<Event> Event::create() {
  auto file = detail::SharedFile::create(spec);
  if (!file) return failure(std::move(file));
  return Event{std::move(*file)};
}

void Event::set() const noexcept {
  auto& word = file_->words<detail::FutexWord>();
  become(word, true);
  detail::futex_wake(word, detail::everybody);
}

void Event::clear() const noexcept { become(file_->words<detail::FutexWord>(), false); }

bool Event::is_set() const noexcept {
  return is_odd(file_->words<detail::FutexWord>().load(std::memory_order_acquire));
}

Result<void> Event::wait(Duration within) const {
  const auto& word = file_->words<detail::FutexWord>();
  const std::uint32_t first = word.load(std::memory_order_acquire);
  Deadline deadline{within};
  while (!is_odd(first) && word.load(std::memory_order_acquire) == first) {
    if (deadline.is_over()) return failure(ErrorKind::timed_out, "event: it was not set");
    const TimePoint look = deadline_in(detail::look_again_after);
    detail::futex_wait(word, first, std::min(deadline.at(), look));
  }
  return {};
}

}  // namespace troupe
