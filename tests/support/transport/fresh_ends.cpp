// SPDX-License-Identifier: MIT
#include "fresh_ends.hpp"

#include <unistd.h>

#include <troupe/transport/syscall.hpp>

namespace troupe::test {
namespace {

std::uint64_t word_at(int file, std::size_t at) {
  std::uint64_t word = 0;
  if (::pread(file, &word, sizeof word, static_cast<off_t>(at)) != sizeof word)
    throw Failure{{ErrorKind::system, errno, "pread"}};
  return word;
}

}  // namespace

void check_words(int writer_file, int reader_file, const LaneSpec& spec) {
  const auto tail = word_at(writer_file, offsetof(lane::WriterPage, tail));
  const auto head = word_at(reader_file, lane::page_bytes + spec.slot * sizeof(lane::ReaderSlot) +
                                             offsetof(lane::ReaderSlot, head));
  if (head > tail || tail - head > spec.capacity)
    throw Failure{{ErrorKind::malformed, 0, "head ≤ tail ≤ head + capacity does not hold"}};
}

FreshReader::FreshReader(int writer_file, int reader_file, const LaneSpec& lane_spec)
    : spec{lane_spec},
      file{next_reader_file(reader_file, slots)},
      words{ReaderFile::create(file.get(), slots).value()},
      reader{LaneReader::create(writer_file, spec, words.slot(spec.slot), credit_bell.get()).value()} {
  check_words(writer_file, reader_file, spec);
}

void FreshReader::replace_lane(int writer_file, const LaneSpec& next) {
  spec = next;
  reader = LaneReader::create(writer_file, spec, words.slot(spec.slot), credit_bell.get()).value();
}

FreshWriter::FreshWriter(const FreshReader& peer, int bell)
    : spec{.id = peer.spec.id + 1,
           .capacity = peer.spec.capacity,
           .base = peer.reader.head(),
           .slot = peer.spec.slot},
      file{new_writer_file(spec)},
      writer{LaneWriter::create(file.get(), spec).value()} {
  writer.attach_reader(view_of(peer.file.get(), FreshReader::slots), bell);
}

}  // namespace troupe::test
