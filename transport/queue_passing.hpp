// SPDX-License-Identifier: MIT
#pragma once
// Internal. An end of a queue as the threads of its process share it, and as it travels to another process.

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <troupe/transport/queue_end.hpp>
#include <utility>
#include <vector>

namespace troupe::detail {

/// An end that the threads of its process share: they take turns.
template <class End>
struct SharedEnd {
  explicit SharedEnd(std::unique_ptr<End> it) : end{std::move(it)} {}
  std::mutex lock;
  std::unique_ptr<End> end;
  std::vector<std::byte> copy{};                                        ///< of the item that is being decoded
  std::vector<std::function<void(const ProcessMark&)>> answered_for{};  ///< ends on their way in messages
};

/// Of the Queue that an end was taken from: it makes ends for other processes. Gone with that Queue.
using WeakAccess = std::weak_ptr<SharedEnd<QueueAccess>>;

/// An end as it travels: of one size, whatever carries the queue, since a size is asked for before the end is
/// made.
struct TravellingEnd {
  static constexpr std::size_t bytes_max = 640;
  static constexpr std::size_t descriptors_max = 6;

  QueuePass pass{};

  template <class Archive>
  void save(Archive& archive) const {
    std::array<std::byte, bytes_max> bytes{};
    std::copy_n(pass.bytes.begin(), std::min(pass.bytes.size(), bytes_max), bytes.begin());
    archive(static_cast<std::uint32_t>(pass.bytes.size()),
            static_cast<std::uint32_t>(pass.descriptors.size()), bytes);
    for (std::size_t i = 0; i < descriptors_max; ++i) {
      if (i < pass.descriptors.size())
        archive.deposit(pass.descriptors[i].get());
      else
        archive(std::uint64_t{0});
    }
  }
  template <class Archive>
  void load(Archive& archive) {
    std::uint32_t size = 0;
    std::uint32_t descriptors = 0;
    std::array<std::byte, bytes_max> bytes{};
    archive(size, descriptors, bytes);
    if (size > bytes_max || descriptors > descriptors_max)
      throw Failure{{ErrorKind::malformed, 0, "queue: an end of more than an end has"}};
    pass.bytes.assign(bytes.begin(), bytes.begin() + size);
    for (std::size_t i = 0; i < descriptors_max; ++i) {
      std::uint64_t nothing = 0;
      if (i < descriptors)
        pass.descriptors.push_back(archive.withdraw());
      else
        archive(nothing);
    }
  }
};

/// Of this process, for another one: made when it is written. Without a store for its descriptors it is
/// `refused`.
template <class Archive>
void save_end(Archive& archive, const WeakAccess& weak, QueueAccess::End end) {
  TravellingEnd travelling;
  if (archive.carries()) {
    const auto access = weak.lock();
    if (!access)
      return archive.refuse(
          {ErrorKind::refused, 0, "queue: this end cannot be passed on; pass one from the Queue"});
    const std::lock_guard lock{access->lock};
    auto pass = access->end->pass(end);
    if (!pass) return archive.refuse(std::move(pass.error()));
    travelling.pass = std::move(*pass);
    if (auto act = std::move(travelling.pass.once_known)) {
      const bool told = archive.once_known([act](std::int32_t pid) {
        if (const auto mark = mark_of(pid)) act(*mark);
      });
      if (!told) access->answered_for.push_back(std::move(act));
    }
  } else {
    travelling.pass.descriptors.emplace_back();  // only to be counted, or refused
  }
  archive(travelling);
}

}  // namespace troupe::detail
