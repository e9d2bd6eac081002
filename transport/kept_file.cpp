// SPDX-License-Identifier: MIT
#define XXH_INLINE_ALL
#include <xxhash.h>
#include <troupe/transport/kept_file.hpp>
#include <troupe/transport/lane_layout.hpp>
#include <troupe/transport/mutant.hpp>

namespace troupe {

struct KeptFile::Slot {
  std::uint64_t bytes;
  std::uint64_t check;
};

struct KeptFile::Header {
  alignas(lane::line_bytes) lane::Word version;
  alignas(lane::line_bytes) std::array<Slot, 2> slots;
};

std::size_t KeptFile::file_bytes(std::size_t slot_bytes) noexcept {
  static_assert(sizeof(Header) <= lane::page_bytes);
  return lane::page_bytes + 2 * slot_bytes;
}

Result<KeptFile> KeptFile::create(int file, std::size_t slot_bytes) {
  auto map = MemoryMap::create(file, file_bytes(slot_bytes), Access::read_write);
  if (!map) return failure(std::move(map));
  KeptFile kept;
  kept.header_ = reinterpret_cast<Header*>(map->data());
  kept.map_ = std::move(*map);
  kept.slot_bytes_ = slot_bytes;
  if (kept.version() == 0) return kept;
  const std::uint64_t version = kept.version();
  const Slot& slot = kept.slot(version);
  if (slot.bytes > slot_bytes ||
      slot.check != XXH3_64bits_withSeed(kept.content(version), slot.bytes, version))
    return failure(ErrorKind::malformed, "kept state: its bytes were overwritten by a stray write");
  return kept;
}

KeptFile::Slot& KeptFile::slot(std::uint64_t version) const noexcept { return header_->slots[version % 2]; }

std::byte* KeptFile::content(std::uint64_t version) const noexcept {
  return map_.data() + lane::page_bytes + (version % 2) * slot_bytes_;
}

std::uint64_t KeptFile::version() const noexcept { return header_->version.load(std::memory_order_acquire); }

std::span<const std::byte> KeptFile::committed() const noexcept {
  const std::uint64_t version = this->version();
  if (version == 0) return {};
  return {content(version), slot(version).bytes};
}

std::span<std::byte> KeptFile::next() const noexcept { return {content(version() + 1), slot_bytes_}; }

void KeptFile::commit(std::size_t bytes) noexcept {
  TROUPE_ASSERT(bytes <= slot_bytes_);
  const std::uint64_t version = this->version() + 1;
  if (TROUPE_MUTANT(version_before_slot)) header_->version.store(version);
  slot(version) = Slot{bytes, XXH3_64bits_withSeed(content(version), bytes, version)};
  header_->version.store(version, std::memory_order_release);
}

}  // namespace troupe
