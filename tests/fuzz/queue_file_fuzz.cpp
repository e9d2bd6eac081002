// SPDX-License-Identifier: MIT
// Any file that is handed over as a queue: opened, with nothing in it outside the mapping, or refused.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/queue_file.hpp>

#include "target.hpp"

namespace troupe::fuzz {
namespace {

constexpr std::size_t file_bytes_max = std::size_t{16} << 20U;

/// As long as the page says, if that can be, so that what is beyond the length check is reached.
std::size_t size_of(const queue::Page& page, std::uint16_t otherwise) {
  if (page.ends > queue::ends_max || page.lanes < 1 || page.lanes > queue::senders_max + 1 ||
      page.items > queue::items_max || page.ring_bytes > queue::bytes_max)
    return otherwise;
  const detail::QueueFile::Bounds claimed{
      .ends = page.ends, .senders = page.lanes - 1, .items = page.items, .ring_bytes = page.ring_bytes};
  return claimed.file_bytes() <= file_bytes_max ? claimed.file_bytes() : otherwise;
}

OwnedFd file_with(std::span<const std::byte> bytes, std::size_t size) {
  OwnedFd file{::memfd_create("fuzz-queue", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  const auto written = ::pwrite(file.get(), bytes.data(), bytes.size(), 0);
  TROUPE_ASSERT(written == static_cast<ssize_t>(bytes.size()));
  TROUPE_ASSERT(::ftruncate(file.get(), static_cast<off_t>(size)) == 0);
  TROUPE_ASSERT(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
  return file;
}

}  // namespace

void run(std::span<const std::byte> bytes) {
  Input input{bytes};
  const auto otherwise = input.take<std::uint16_t>();
  queue::Page page{};
  std::memcpy(static_cast<void*>(&page), input.rest().data(), std::min(sizeof page, input.rest().size()));
  std::vector<OwnedFd> descriptors;
  descriptors.push_back(file_with(input.rest(), size_of(page, otherwise)));
  while (descriptors.size() < detail::QueueFile::descriptor_count)
    descriptors.push_back(create_bell().value());
  const auto queue = detail::QueueFile::open(std::move(descriptors), "fuzzed");
  if (!queue) return;
  const auto& bounds = (*queue)->bounds();
  unsigned sum = 0;
  for (std::size_t lane = 0; lane < bounds.lanes(); ++lane)
    for (const std::uint64_t number :
         {std::uint64_t{0}, std::uint64_t{bounds.items} - 1, (*queue)->lane(lane).tail.load()})
      for (const auto byte : (*queue)->payload(lane, (*queue)->record(lane, number)))
        sum += std::to_integer<unsigned>(byte);
  (*queue)->slot(bounds.ends - 1).counts.put.store(sum);
}

std::vector<Bytes> seeds() {
  const auto seed = [](const QueueOptions& options) {
    const auto queue = detail::QueueFile::create(options).value();
    const auto page = bytes_of(std::uint16_t{4096}, queue->page());
    return Bytes{page.begin(), page.begin() + 130};  // all that is not zero
  };
  return {seed({.items_max = 4, .bytes_max = 4096, .senders_max = 1, .ends_max = 2}),
          seed({.items_max = 100, .bytes_max = 10'000, .senders_max = 3, .overflow = Overflow::latest})};
}

}  // namespace troupe::fuzz
