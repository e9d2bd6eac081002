// SPDX-License-Identifier: MIT
// A hostile sender against a live reader: any bytes in the ring, any tail, and a tail that moves while it
// reads.

#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/lane.hpp>

#include "target.hpp"

namespace troupe::fuzz {
namespace {

constexpr LaneSpec spec{.id = 7, .base = lane::capacity_min - 64};  // the first frames cross the ring's end
constexpr std::size_t reads_max = 300;

/// A lane whose sender kept a writable mapping for itself.
struct HostileLane {
  OwnedFd file = create_memory("fuzz-writer", lane::writer_file_bytes(spec.capacity)).value();
  OwnedFd words_file = create_memory("fuzz-reader", lane::reader_file_bytes(1)).value();
  OwnedFd bell = create_bell().value();
  MemoryMap map =
      MemoryMap::create_ring(file.get(), lane::page_bytes, spec.capacity, Access::read_write).value();
  ReaderFile words = ReaderFile::create(words_file.get(), 1).value();
  LaneWriter writer = LaneWriter::create(file.get(), spec).value();

  [[nodiscard]] lane::WriterPage& page() const { return *reinterpret_cast<lane::WriterPage*>(map.data()); }
  [[nodiscard]] std::span<std::byte> from(std::uint64_t offset) const {
    return {map.data() + lane::page_bytes + (offset & (spec.capacity - 1)), spec.capacity};
  }
  /// Gives the frames from `offset` on the checks that they should have, so that other rules are reached.
  void repair(std::uint64_t offset, std::size_t frames) const {
    for (; frames != 0; --frames) {
      lane::FrameHeader header{};
      std::memcpy(&header, from(offset).data(), sizeof header);
      header.offset = offset;
      header.check = lane::check_of(header, spec.id);
      std::memcpy(from(offset).data(), &header, sizeof header);
      offset += lane::frame_bytes(header.length);
    }
  }
};

}  // namespace

void run(std::span<const std::byte> bytes) {
  static const HostileLane lane;
  Input input{bytes};
  const auto repaired = input.take<std::uint8_t>();
  const auto later = input.take<std::uint16_t>();  // how far the tail moves while frames are read
  lane.page().waiting.store(input.take<std::uint32_t>());
  lane.page().tail.store(spec.base + input.take<std::uint64_t>());
  const auto content = input.take_bytes(spec.capacity);
  std::ranges::fill(lane.from(0), std::byte{});
  std::ranges::copy(content, lane.from(spec.base).begin());
  lane.repair(spec.base, repaired % 16);

  auto& slot = lane.words.slot(0);
  slot.head.store(spec.base);
  auto reader = LaneReader::create(lane.file.get(), spec, slot, lane.bell.get()).value();
  Bytes buffer;
  for (std::size_t i = 0; i < reads_max && reader.pending(); ++i) {
    const auto frame = reader.peek(buffer);
    if (!frame) break;
    TROUPE_ASSERT(frame->payload.size() <= spec.capacity / lane::frame_share &&
                  frame->offset == reader.head());
    TROUPE_ASSERT(reader.begin_attempt() >= 1);
    lane.page().tail.fetch_add(later);
    reader.acknowledge(*frame);
  }
  reader.settle();
}

std::vector<Bytes> seeds() {
  const auto seed = [](std::uint8_t frames, std::uint32_t length, std::uint64_t tail) {
    Bytes bytes = bytes_of(frames, std::uint16_t{0}, std::uint32_t{1}, tail);
    for (std::uint8_t i = 0; i < frames; ++i) {
      const auto header = bytes_of(lane::FrameHeader{length, 0, 0, 0xABCD, i + 1U});
      bytes.insert(bytes.end(), header.begin(), header.end());
      bytes.resize(bytes.size() + lane::frame_bytes(length) - header.size(), std::byte{i});
    }
    return bytes;
  };
  return {seed(1, 0, 32), seed(3, 20, 3 * 56), seed(2, 2016, 2 * 2048), seed(2, 8, 1'000'000)};
}

}  // namespace troupe::fuzz
