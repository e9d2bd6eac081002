// SPDX-License-Identifier: MIT
#include <troupe/transport/queue_items.hpp>

#include <unistd.h>

#include <cstddef>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

bool is_alive(const queue::SlotState& place) {
  const auto process =
      watch_process({static_cast<std::int32_t>(place.pid), place.started}, queue::SlotState::started_mask);
  if (!process) return process.error().kind != ErrorKind::down;
  return !wait_readable(process->get(), TimePoint{});
}

}  // namespace

Result<QueueGlance> QueueGlance::create(OwnedFd file) {
  auto bounds = QueueFile::bounds_in(file.get());
  if (!bounds) return failure(std::move(bounds));
  return QueueGlance{std::move(file), *bounds};
}

std::uint64_t QueueGlance::word(std::size_t offset) const {
  std::uint64_t value = 0;
  [[maybe_unused]] const auto got =
      ::pread(file_.get(), &value, sizeof value, static_cast<off_t>(offset));  // its size is sealed
  return value;
}

QueueGlance::Item QueueGlance::item(std::uint64_t lane, std::uint64_t number) const {
  using queue::Lease;
  if (lane >= bounds_.senders) return Item::done;
  const std::size_t words =
      queue::page_bytes + bounds_.ends * sizeof(queue::Slot) + lane * sizeof(queue::Lane);
  if (number >= word(words + offsetof(queue::Lane, tail))) return Item::coming;
  if (number < word(words + offsetof(queue::Lane, head))) return Item::done;
  const std::size_t record = lane * bounds_.items + (number & (bounds_.items - 1));
  const Lease lease = Lease::of(
      word(bounds_.words_bytes() + record * sizeof(queue::Record) + offsetof(queue::Record, lease)));
  const bool still = lease.lap == static_cast<std::uint32_t>(number) && lease.state != Lease::State::done;
  return still ? Item::there : Item::done;
}

bool QueueGlance::has_ends() const {
  for (std::size_t i = 0; i < bounds_.ends; ++i) {
    const auto place = queue::SlotState::of(
        word(queue::page_bytes + i * sizeof(queue::Slot) + offsetof(queue::Slot, state)));
    if (place.kind != queue::SlotState::Kind::free && is_alive(place)) return true;
  }
  return false;
}

}  // namespace troupe::detail
