// SPDX-License-Identifier: MIT
#include <troupe/runtime/shared_slots.hpp>

#include <algorithm>
#include <cstring>

namespace troupe::detail {

SharedSlots::SharedSlots(const SharedFile& file) noexcept
    : version_{&file.words<Word>()}, data_{file.data()} {}

SharedSlots::Word* SharedSlots::slot(std::uint64_t version) const noexcept {
  return reinterpret_cast<Word*>(data_.data() + (version % 2) * (data_.size() / 2));
}

// Each word of a slot is released and acquired: who reads one of a later write also sees that the version has
// moved on, and looks again.
bool SharedSlots::read(std::span<std::byte> into) const noexcept {
  constexpr int attempts_max = 64;
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    const std::uint64_t version = version_->load(std::memory_order_acquire);
    const Word* const words = slot(version);
    for (std::size_t at = 0; at < into.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t word = words[at / sizeof(std::uint64_t)].load(std::memory_order_acquire);
      std::memcpy(into.data() + at, &word, std::min(sizeof word, into.size() - at));
    }
    if (version_->load(std::memory_order_acquire) == version) return true;
  }
  return false;
}

void SharedSlots::write(std::span<const std::byte> bytes) noexcept {
  const std::uint64_t next = version_->load(std::memory_order_relaxed) + 1;
  Word* const words = slot(next);
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
    words[at / sizeof(std::uint64_t)].store(word, std::memory_order_release);
  }
  version_->store(next, std::memory_order_release);
}

}  // namespace troupe::detail
