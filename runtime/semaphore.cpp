// SPDX-License-Identifier: MIT
#include <troupe/runtime/semaphore.hpp>

#include <string>
#include <troupe/runtime/process_table.hpp>

namespace troupe {
namespace {

using detail::ProcessTable;
using detail::SharedFile;

struct Words {
  detail::EventCount changed;
  std::atomic<std::uint32_t> issued;  ///< free or held
  std::atomic<std::uint32_t> permits_max;
  detail::LookClock looked;
  ProcessTable holders;
};

Words& words_of(const SharedFile& file) noexcept { return file.words<Words>(); }

std::uint32_t free_of(const Words& words) noexcept {
  const std::uint64_t issued = words.issued.load(std::memory_order_acquire);
  const std::uint64_t held = words.holders.sum();
  return held < issued ? static_cast<std::uint32_t>(issued - held) : 0;
}

}  // namespace

// ---- Permit -----------------------------------------------------------------------------------------------

Permit::Permit(Permit&& other) noexcept
    : file_{std::move(other.file_)}, place_{other.place_}, process_{other.process_}, fork_{other.fork_} {}

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this == &other) return *this;
  release();
  file_ = std::move(other.file_);
  place_ = other.place_;
  process_ = other.process_;
  fork_ = other.fork_;
  return *this;
}

void Permit::end() noexcept {
  if (!fork_.forked()) words_of(*file_).holders.subtract(place_, process_);
}

void Permit::release() noexcept {
  if (!file_) return;
  end();
  if (!fork_.forked()) words_of(*file_).changed.announce(1);
  file_.reset();
}

void Permit::spend() noexcept {
  if (!file_) return;
  if (!fork_.forked()) {
    // In this order: killed in between, this process has spent it, and what it still seems to hold is reaped.
    std::atomic<std::uint32_t>& issued = words_of(*file_).issued;
    std::uint32_t count = issued.load(std::memory_order_relaxed);
    while (count != 0 && !issued.compare_exchange_weak(count, count - 1, std::memory_order_acq_rel)) {}
  }
  end();
  file_.reset();
}

// ---- Semaphore --------------------------------------------------------------------------------------------

Semaphore::Semaphore(SemaphoreOptions options) : Semaphore{create(options).value()} {}

Result<Semaphore> Semaphore::create(SemaphoreOptions options) {
  const std::uint32_t max = options.permits_max != 0 ? options.permits_max : options.permits;
  if (max == 0 || options.permits > max)
    return failure(ErrorKind::invalid, "semaphore: " + std::to_string(options.permits) +
                                           " permits of at most " + std::to_string(max) + " make no sense");
  auto file = SharedFile::create(spec);
  if (!file) return failure(std::move(file));
  words_of(**file).permits_max.store(max);
  words_of(**file).issued.store(options.permits);
  return Semaphore{std::move(*file)};
}

Result<Permit> Semaphore::acquire(Duration within) const {
  const auto self = detail::own_process_word();
  if (!self) return tl::unexpected<Error>{self.error()};
  Deadline deadline{within};
  Result<Permit> permit{};
  [[maybe_unused]] const bool decided = words_of(*file_).changed.wait(deadline, [&] {
    permit = try_as(*self);
    return permit || permit.error().kind != ErrorKind::timed_out;
  });
  return permit;
}

Result<Permit> Semaphore::try_as(std::uint64_t process) const {
  Words& words = words_of(*file_);
  Deadline soon{detail::guard_within};
  detail::Guarded guard{file_->lock(), soon};
  if (!guard) return tl::unexpected<Error>{std::move(guard.error())};
  if (words.issued.load() > words.permits_max.load())
    return failure(ErrorKind::malformed, "semaphore: another process has overwritten it");
  if (free_of(words) == 0 && words.looked.is_due() && words.holders.reap() > 1) words.changed.announce();
  if (free_of(words) == 0) return failure(ErrorKind::timed_out, "semaphore: no permit is free");
  const std::size_t place = words.holders.place_of(process);
  if (place == ProcessTable::none)
    return failure(ErrorKind::exhausted, "semaphore: 240 processes hold permits of it");
  words.holders.add(place);
  return Permit{file_, place, process};
}

Result<void> Semaphore::release(std::uint32_t permits) const {
  Words& words = words_of(*file_);
  std::uint32_t issued = words.issued.load(std::memory_order_relaxed);
  do {
    const std::uint32_t max = words.permits_max.load(std::memory_order_relaxed);
    if (issued > max || permits > max - issued)
      return failure(ErrorKind::invalid, "semaphore: " + std::to_string(issued) +
                                             " permits are issued of at most " + std::to_string(max));
  } while (!words.issued.compare_exchange_weak(issued, issued + permits, std::memory_order_acq_rel));
  words.changed.announce(std::min(permits, detail::everybody));
  return {};
}

std::uint32_t Semaphore::available() const noexcept { return free_of(words_of(*file_)); }

}  // namespace troupe
