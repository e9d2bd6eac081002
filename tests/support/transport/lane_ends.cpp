// SPDX-License-Identifier: MIT
#include "lane_ends.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {
namespace {

OwnedFd reader_file_with(std::vector<std::byte> bytes) {
  auto file = create_memory("test-reader", bytes.size()).value();
  const auto written = detail::retried([&] { return ::pwrite(file.get(), bytes.data(), bytes.size(), 0); });
  if (written != static_cast<ssize_t>(bytes.size())) {
    throw Failure{detail::system_error("pwrite", errno)};
  }
  return file;
}

}  // namespace

std::vector<std::byte> pattern(std::uint64_t seed, std::size_t bytes) {
  std::vector<std::byte> out(bytes);
  auto state = seed * 0x9E37'79B9'7F4A'7C15U + 1;
  for (auto& byte : out) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<std::byte>(state >> 56U);
  }
  return out;
}

OwnedFd new_writer_file(const LaneSpec& spec) {
  return create_memory("test-writer", lane::writer_file_bytes(spec.capacity)).value();
}

OwnedFd new_reader_file(std::size_t slots, std::uint64_t head, std::size_t slot) {
  auto bytes = ReaderFile::initial(slots);
  std::memcpy(
      bytes.data() + lane::page_bytes + slot * sizeof(lane::ReaderSlot) + offsetof(lane::ReaderSlot, head),
      &head, sizeof head);
  return reader_file_with(std::move(bytes));
}

OwnedFd next_reader_file(int last, std::size_t slots) {
  const auto old = view_of(last, slots, ReaderView::Seals::not_yet);
  auto bytes = ReaderFile::initial(slots);
  for (std::size_t i = 0; i < slots; ++i) {
    const std::uint64_t words[] = {old->slot(i).head.load(), old->slot(i).attempt.load()};
    std::memcpy(bytes.data() + lane::page_bytes + i * sizeof(lane::ReaderSlot), words, sizeof words);
  }
  return reader_file_with(std::move(bytes));
}

std::shared_ptr<const ReaderView> view_of(int reader_file, std::size_t slots, ReaderView::Seals seals) {
  return std::make_shared<const ReaderView>(ReaderView::create(reader_file, slots, seals).value());
}

bool send(LaneWriter& writer, std::span<const std::byte> payload, const FrameInfo& info) {
  const auto room = writer.reserve(payload.size()).value();
  if (room.data() == nullptr || room.size() < payload.size()) return false;
  std::copy(payload.begin(), payload.end(), room.begin());
  writer.publish(info, payload.size());
  return true;
}

std::size_t fill(LaneWriter& writer, std::size_t payload_bytes, std::uint64_t first) {
  std::size_t sent = 0;
  while (send(writer, pattern(first + sent, payload_bytes), {.type = 1, .sequence = first + sent})) ++sent;
  return sent;
}

std::vector<Received> receive_all(LaneReader& reader) {
  std::vector<Received> all;
  std::vector<std::byte> buffer;
  while (reader.pending()) {
    const auto frame = reader.peek(buffer).value();
    reader.begin_attempt();
    all.push_back({frame.info, frame.offset, {frame.payload.begin(), frame.payload.end()}});
    reader.acknowledge(frame);
    reader.settle();
  }
  return all;
}

bool was_rung(int bell) {
  std::uint64_t count = 0;
  return detail::retried([&] { return ::read(bell, &count, sizeof count); }) ==
         static_cast<ssize_t>(sizeof count);
}

Lane::Lane(const LaneSpec& lane_spec)
    : spec{lane_spec},
      writer_file{new_writer_file(spec)},
      reader_file{new_reader_file(slots, spec.base, spec.slot)},
      reader_bell{create_bell().value()},
      credit_bell{create_bell().value()},
      words{ReaderFile::create(reader_file.get(), slots).value()},
      writer{LaneWriter::create(writer_file.get(), spec).value()},
      reader{LaneReader::create(writer_file.get(), spec, words.slot(spec.slot), credit_bell.get()).value()} {
  attach();
}

void Lane::restart_reader() {
  reader_file = next_reader_file(reader_file.get(), slots);
  words = ReaderFile::create(reader_file.get(), slots).value();
  reader = LaneReader::create(writer_file.get(), spec, words.slot(spec.slot), credit_bell.get()).value();
}

}  // namespace troupe::test
