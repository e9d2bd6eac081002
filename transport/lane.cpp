// SPDX-License-Identifier: MIT
#include <troupe/transport/lane.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/mutant.hpp>

namespace troupe {
namespace {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

Result<void> check_spec(const LaneSpec& spec) {
  const bool sound = std::has_single_bit(spec.capacity) && spec.capacity >= lane::capacity_min &&
                     spec.capacity <= lane::capacity_max && spec.base % lane::frame_alignment == 0;
  if (!sound) return failure(ErrorKind::invalid, "lane: impossible capacity or base");
  return {};
}

}  // namespace

// ---- ReaderFile, ReaderView -----------------------------------------------------------------------

std::vector<std::byte> ReaderFile::initial(std::size_t slots) {
  std::vector<std::byte> bytes(lane::reader_file_bytes(slots));
  const auto count = static_cast<std::uint32_t>(slots);
  std::memcpy(bytes.data() + offsetof(lane::ReaderPage, magic), &lane::reader_magic,
              sizeof lane::reader_magic);
  std::memcpy(bytes.data() + offsetof(lane::ReaderPage, version), &lane::layout_version,
              sizeof lane::layout_version);
  std::memcpy(bytes.data() + offsetof(lane::ReaderPage, slots), &count, sizeof count);
  return bytes;
}

Result<ReaderFile> ReaderFile::create(int file, std::size_t slots) {
  auto map = MemoryMap::create(file, lane::reader_file_bytes(slots), Access::read_write);
  if (!map) return failure(std::move(map));
  if (auto sealed = seal_against_writers(file); !sealed) return failure(std::move(sealed));
  ReaderFile result;
  result.page_ = reinterpret_cast<lane::ReaderPage*>(map->data());
  result.map_ = std::move(*map);
  result.slots_ = slots;
  return result;
}

lane::ReaderSlot& ReaderFile::slot(std::size_t index) const noexcept {
  TROUPE_ASSERT(index < slots_);
  return reinterpret_cast<lane::ReaderSlot*>(map_.data() + lane::page_bytes)[index];
}

void ReaderFile::announce_sleep() noexcept {
  detail::store_in_order(page_->asleep, page_->asleep.load(memory_order_relaxed) + 1,
                         TROUPE_MUTANT(unordered_sleep));
}

void ReaderFile::renew_sleep() noexcept {
  page_->asleep.store(page_->asleep.load(memory_order_relaxed) + 2, memory_order_seq_cst);
}

void ReaderFile::end_sleep() noexcept {
  page_->asleep.store(page_->asleep.load(memory_order_relaxed) + 1, memory_order_release);
}

void ReaderFile::note(std::string_view text) noexcept {
  lane::Note& note = page_->note;
  const std::size_t length = std::min(text.size(), lane::note_bytes_max);
  const std::uint32_t version = note.version.load(memory_order_relaxed);
  note.version.store(version + 1, memory_order_relaxed);
  // Release, so that whoever sees one of these bytes sees the odd version too; there is no fence that TSan
  // knows.
  for (std::size_t i = 0; i < length; ++i) note.text[i].store(text[i], memory_order_release);
  note.length.store(static_cast<std::uint32_t>(length), memory_order_release);
  note.version.store(version + 2, memory_order_release);
}

Result<ReaderView> ReaderView::create(int file, std::size_t slots, Seals seals) {
  if (seals == Seals::required)
    if (auto sealed = check_sealed(file, lane::reader_file_bytes(slots)); !sealed)
      return failure(std::move(sealed));
  auto map = MemoryMap::create(file, lane::reader_file_bytes(slots), Access::read);
  if (!map) return failure(std::move(map));
  ReaderView view;
  view.page_ = reinterpret_cast<const lane::ReaderPage*>(map->data());
  view.map_ = std::move(*map);
  view.slots_ = slots;
  if (view.page_->magic != lane::reader_magic || view.page_->version != lane::layout_version ||
      view.page_->slots != slots)
    return failure(ErrorKind::malformed, "lane: not a reader's file");
  return view;
}

const lane::ReaderSlot& ReaderView::slot(std::size_t index) const noexcept {
  TROUPE_ASSERT(index < slots_);
  return reinterpret_cast<const lane::ReaderSlot*>(map_.data() + lane::page_bytes)[index];
}

std::string ReaderView::note() const {
  const lane::Note& note = page_->note;
  constexpr int tries_max = 8;  // its writer may have been stopped in mid-write: rather no note than a wait
  for (int i = 0; i < tries_max; ++i) {
    const std::uint32_t before = note.version.load(memory_order_acquire);
    if (before % 2 != 0) continue;
    const std::size_t length =
        std::min<std::size_t>(note.length.load(memory_order_acquire), lane::note_bytes_max);
    std::string text(length, '\0');
    for (std::size_t k = 0; k < length; ++k) text[k] = note.text[k].load(memory_order_acquire);
    if (note.version.load(memory_order_acquire) == before) return text;
  }
  return {};
}

// ---- LaneWriter -----------------------------------------------------------------------------------

LaneWriter::LaneWriter(MemoryMap map, const LaneSpec& spec) noexcept
    : map_{std::move(map)},
      page_{reinterpret_cast<lane::WriterPage*>(map_.data())},
      spec_{spec},
      tail_{spec.base},
      known_head_{spec.base} {}

Result<LaneWriter> LaneWriter::create(int file, const LaneSpec& spec) {
  if (auto sound = check_spec(spec); !sound) return failure(std::move(sound));
  auto map = MemoryMap::create_ring(file, lane::page_bytes, spec.capacity, Access::read_write);
  if (!map) return failure(std::move(map));
  LaneWriter writer{std::move(*map), spec};
  writer.page_->magic = lane::writer_magic;
  writer.page_->version = lane::layout_version;
  writer.page_->id = spec.id;
  writer.page_->capacity = spec.capacity;
  writer.page_->base = spec.base;
  writer.page_->tail.store(spec.base, memory_order_release);
  if (auto sealed = seal_against_writers(file); !sealed) return failure(std::move(sealed));
  return writer;
}

void LaneWriter::attach_reader(std::shared_ptr<const ReaderView> reader, int bell) noexcept {
  reader_ = std::move(reader);
  asleep_ = reader_ ? &reader_->page().asleep : nullptr;
  bell_ = bell;
  rung_ = 0;
  if (!drained() && !TROUPE_MUTANT(no_ring_at_attach)) ring(bell_);
}

std::uint64_t LaneWriter::head() const noexcept {
  return reader_ ? reader_->slot(spec_.slot).head.load(memory_order_seq_cst) : known_head_;
}

std::uint64_t LaneWriter::attempt() const noexcept {
  return reader_ ? reader_->slot(spec_.slot).attempt.load(memory_order_acquire) : 0;
}

Result<std::uint64_t> LaneWriter::look_for_room() noexcept {
  const std::uint64_t head = this->head();
  // A new incarnation may show an older head for a moment (less room, never wrong data), never one beyond
  // the tail.
  const bool impossible = head > tail_ || tail_ - head > spec_.capacity;
  if (impossible && !TROUPE_MUTANT(reader_head_unchecked))
    return failure(ErrorKind::malformed, "lane: its reader shows an impossible head");
  known_head_ = std::max(known_head_, head);
  return room();
}

void LaneWriter::announce_wait() noexcept {
  const std::uint32_t next_odd = (page_->waiting.load(memory_order_relaxed) + 1) | 1U;
  detail::store_in_order(page_->waiting, next_odd, TROUPE_MUTANT(unordered_wait));
  if (reader_) known_head_ = std::max(known_head_, std::min(head(), tail_));
}

void LaneWriter::end_wait() noexcept {
  const std::uint32_t waiting = page_->waiting.load(memory_order_relaxed);
  if (waiting % 2 != 0) page_->waiting.store(waiting + 1, memory_order_release);
}

// ---- LaneReader -----------------------------------------------------------------------------------

LaneReader::LaneReader(MemoryMap map, const LaneSpec& spec, lane::ReaderSlot& slot, int credit_bell) noexcept
    : map_{std::move(map)},
      page_{reinterpret_cast<const lane::WriterPage*>(map_.data())},
      spec_{spec},
      slot_{&slot},
      credit_bell_{credit_bell},
      head_{slot.head.load(memory_order_relaxed)},
      known_tail_{head_},
      settled_{head_} {}

Result<LaneReader> LaneReader::create(int file, const LaneSpec& spec, lane::ReaderSlot& slot,
                                      int credit_bell) {
  if (auto sound = check_spec(spec); !sound) return failure(std::move(sound));
  if (auto sealed = check_sealed(file, lane::writer_file_bytes(spec.capacity)); !sealed)
    return failure(std::move(sealed));
  auto map = MemoryMap::create_ring(file, lane::page_bytes, spec.capacity, Access::read);
  if (!map) return failure(std::move(map));
  LaneReader reader{std::move(*map), spec, slot, credit_bell};
  const lane::WriterPage& page = *reader.page_;
  if (page.magic != lane::writer_magic || page.version != lane::layout_version || page.id != spec.id ||
      page.capacity != spec.capacity || page.base != spec.base)
    return failure(ErrorKind::malformed, "lane: not the file that was announced");
  if (reader.head_ < spec.base)
    return failure(ErrorKind::malformed, "lane: its slot lies before its first frame");
  return reader;
}

tl::unexpected<Error> LaneReader::broken(const char* rule) {
  return failure(ErrorKind::malformed, std::string{"lane: "} + rule);
}

void LaneReader::forgive_attempts() noexcept {
  slot_->attempt.store(head_ << lane::attempts_bits, memory_order_release);
}

void LaneReader::settle() noexcept {
  settled_ = head_;
  detail::store_in_order(slot_->head, head_, TROUPE_MUTANT(unordered_settle));
  const std::uint32_t waiting = page_->waiting.load(memory_order_seq_cst);
  if (waiting % 2 == 0 || waiting == rung_) return;
  rung_ = waiting;
  ring(credit_bell_);
}

void LaneReader::resume_at(std::uint64_t offset) noexcept {
  if (offset <= head_) return;
  head_ = offset;
  known_tail_ = offset;
  settled_ = offset;
  slot_->head.store(head_, memory_order_release);
}

}  // namespace troupe
