// SPDX-License-Identifier: MIT
#include <troupe/transport/shared_queue.hpp>

namespace troupe::detail {
namespace {

/// What a wake-up costs in messages (docs/benchmarks.md): whoever has more of them still to be done sleeps,
/// since each look for room takes a line from the receivers.
constexpr std::uint64_t backlog_to_spin_for = 256;

}  // namespace

Result<std::unique_ptr<QueueSender>> SharedSender::create(std::shared_ptr<QueueFile> file, QueuePlace place,
                                                          Result<QueueWriter> writer) {
  if (!writer) return failure(std::move(writer));
  auto peers = QueuePeers::create(file, file->room_bell(writer->lane()));
  if (!peers) return failure(std::move(peers));
  return std::unique_ptr<QueueSender>{
      new SharedSender{std::move(file), std::move(place), std::move(*writer), std::move(*peers)}};
}

Result<std::span<std::byte>> SharedSender::reserve(std::size_t bytes, Deadline& deadline) {
  if (auto own = guard_.check("queue"); !own) return failure(std::move(own));
  if (bytes > file_->bounds().bytes_max)
    return failure(ErrorKind::invalid, "queue " + file_->name() + ": an item of " + std::to_string(bytes) +
                                           " bytes, and it holds " +
                                           std::to_string(file_->bounds().bytes_max) +
                                           "; try a larger bytes_max");
  if (auto room = writer_.room(bytes)) return *room;
  switch (file_->bounds().overflow) {
    case Overflow::block: return wait_for_room(bytes, deadline);
    case Overflow::fail:
      add(place_.counts().refused_full);
      return failure(ErrorKind::full, "queue " + file_->name() + ": it is full");
    case Overflow::drop_new: break;
    case Overflow::drop_old:
    case Overflow::latest:
      if (const auto room = drop_for_room(bytes); room.data() != nullptr) return room;
      break;
  }
  add(place_.counts().dropped_new);
  return std::span<std::byte>{};
}

/// What somebody has in hand keeps its place, and with it all that was put behind it.
std::span<std::byte> SharedSender::drop_for_room(std::size_t bytes) {
  const bool latest = file_->bounds().overflow == Overflow::latest;
  while (writer_.drop_oldest()) {
    add(latest ? place_.counts().replaced : place_.counts().dropped_old);
    if (const auto room = writer_.room(bytes)) return *room;
  }
  return {};
}

Result<std::span<std::byte>> SharedSender::wait_for_room(std::size_t bytes, Deadline& deadline) {
  std::optional<std::span<std::byte>> room;
  const auto look = [&] { return (room = writer_.room(bytes)).has_value(); };
  bool awake = !deadline.is_over();
  if (awake && writer_.backlog() < backlog_to_spin_for && spin_.until(look)) return *room;
  while (awake) {
    const bool wait = writer_.announce_wait();
    if (auto watched = peers_.refresh(); !watched) {
      writer_.end_wait();
      return failure(std::move(watched));
    }
    if (wait && !look()) awake = peers_.wait(deadline.at());
    writer_.end_wait();
    if (look()) return *room;
  }
  add(place_.counts().refused_full);
  return failure(ErrorKind::timed_out, "queue " + file_->name() + ": it stayed full");
}

Result<void> SharedSender::commit(std::uint64_t type, std::size_t bytes, Deadline& /*deadline*/) {
  if (auto own = guard_.check("queue"); !own) return own;
  writer_.publish(type, bytes);
  bell_.ring_if_asleep(*file_);
  add(place_.counts().put);
  if (file_->bounds().overflow == Overflow::latest)
    add(place_.counts().replaced, writer_.drop_ready_before(writer_.tail() - 1));
  return {};
}

}  // namespace troupe::detail
