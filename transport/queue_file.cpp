// SPDX-License-Identifier: MIT
#include <troupe/transport/queue_file.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/queue_items.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

// Every end writes into it, so only its size is fixed.
constexpr int size_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

constexpr std::size_t whole_pages(std::size_t bytes) noexcept {
  return (bytes + queue::page_bytes - 1) / queue::page_bytes * queue::page_bytes;
}

tl::unexpected<Error> impossible(const std::string& name, const std::string& why) {
  return failure(ErrorKind::invalid, "queue " + name + ": " + why);
}

Result<QueueFile::Bounds> bounds_of(const QueueOptions& options) {
  const auto within = [](std::size_t value, std::size_t max) { return value >= 1 && value <= max; };
  const std::string& name = options.name;
  if (!within(options.items_max, queue::items_max))
    return impossible(name, "items_max lies outside 1 to 2^20");
  if (!within(options.bytes_max, queue::bytes_max))
    return impossible(name, "bytes_max lies outside 1 to 2^30");
  if (!within(options.senders_max, queue::senders_max))
    return impossible(name, "senders_max lies outside 1 to 64");
  if (!within(options.ends_max, queue::ends_max)) return impossible(name, "ends_max lies outside 1 to 128");
  if (!within(options.attempts_max, queue::attempts_max))
    return impossible(name, "attempts_max lies outside 1 to 60");
  // An end that puts one item wants a page at least, and the quarantine has the same room.
  const std::size_t items = std::bit_ceil(std::max(options.items_max, queue::quarantine_items));
  return QueueFile::Bounds{.ends = options.ends_max,
                           .senders = options.senders_max,
                           .items_max = options.items_max,
                           .items = items,
                           .bytes_max = options.bytes_max,
                           .ring_bytes = std::bit_ceil(std::max(options.bytes_max, queue::page_bytes)),
                           .attempts_max = options.attempts_max,
                           .overflow = options.overflow};
}

void write_bounds(queue::Page& page, const QueueFile::Bounds& bounds) {
  page.ends = static_cast<std::uint32_t>(bounds.ends);
  page.lanes = static_cast<std::uint32_t>(bounds.lanes());
  page.items_max = static_cast<std::uint32_t>(bounds.items_max);
  page.items = static_cast<std::uint32_t>(bounds.items);
  page.bytes_max = bounds.bytes_max;
  page.ring_bytes = bounds.ring_bytes;
  page.attempts_max = bounds.attempts_max;
  page.overflow = static_cast<std::uint32_t>(bounds.overflow);
  page.version = queue::layout_version;
  page.magic = queue::magic;
}

/// The bounds that a page claims, if they are possible ones.
Result<QueueFile::Bounds> read_bounds(const queue::Page& page) {
  const bool ours = page.magic == queue::magic && page.version == queue::layout_version;
  const std::uint32_t overflow = page.overflow;
  if (!ours || page.lanes < 2 || overflow > static_cast<std::uint32_t>(Overflow::latest))
    return failure(ErrorKind::malformed, "queue: not a queue's file, or of another version of this library");
  QueueOptions claimed{.items_max = page.items_max,
                       .bytes_max = page.bytes_max,
                       .senders_max = page.lanes - 1,
                       .ends_max = page.ends,
                       .attempts_max = page.attempts_max,
                       .overflow = static_cast<Overflow>(overflow)};
  auto bounds = bounds_of(claimed);
  if (!bounds || bounds->items != page.items || bounds->ring_bytes != page.ring_bytes)
    return failure(ErrorKind::malformed, "queue: a file with impossible bounds");
  return bounds;
}

/// How long the file is and will be for good.
Result<std::size_t> sealed_size(int file) {
  struct stat status {};
  const int seals = ::fcntl(file, F_GET_SEALS);
  if (seals == -1 && errno == EINVAL)
    return failure(ErrorKind::refused, "queue: its file is no shared memory");
  if (seals == -1 || ::fstat(file, &status) == -1) return system_failure("queue: look at its file");
  if ((seals & size_seals) != size_seals && !TROUPE_MUTANT(queue_seals_unchecked))
    return failure(ErrorKind::refused, "queue: its file could be cut short, since its size is not sealed");
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace

// ---- bounds -----------------------------------------------------------------------------------------------

std::size_t QueueFile::Bounds::words_bytes() const noexcept {
  return whole_pages(queue::page_bytes + ends * sizeof(queue::Slot) + lanes() * sizeof(queue::Lane));
}
std::size_t QueueFile::Bounds::records_bytes() const noexcept { return items * sizeof(queue::Record); }
std::size_t QueueFile::Bounds::payload_offset() const noexcept {
  return words_bytes() + whole_pages(lanes() * records_bytes());
}
std::size_t QueueFile::Bounds::file_bytes() const noexcept { return payload_offset() + lanes() * ring_bytes; }

// ---- making and opening -----------------------------------------------------------------------------------

Result<std::shared_ptr<QueueFile>> QueueFile::create(const QueueOptions& options) {
  auto bounds = bounds_of(options);
  if (!bounds) return failure(std::move(bounds));
  std::shared_ptr<QueueFile> queue{new QueueFile};
  queue->name_ = options.name;
  queue->bounds_ = *bounds;
  auto file = owned(::memfd_create("troupe-queue", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create");
  if (!file) return failure(std::move(file));
  // The quarantine lies at the file's end, so it gives the file its size; whatever happens, there is memory
  // for what cannot be delivered. The lanes in between are only an extent until a sender takes one.
  const std::size_t quarantine = bounds->payload_offset() + bounds->senders * bounds->ring_bytes;
  for (const auto& [offset, bytes] :
       {std::pair{quarantine, bounds->ring_bytes}, std::pair{std::size_t{0}, bounds->payload_offset()}})
    if (auto room = allocate_memory(file->get(), offset, bytes); !room) return failure(std::move(room));
  if (::fcntl(file->get(), F_ADD_SEALS, size_seals) == -1) return system_failure("queue: seal its file");
  queue->file_ = std::move(*file);
  for (OwnedFd* const bell : {&queue->items_bell_, &queue->room_bells_[0], &queue->room_bells_[1],
                              &queue->room_bells_[2], &queue->room_bells_[3]}) {
    auto made = create_bell();
    if (!made) return failure(std::move(made));
    *bell = std::move(*made);
  }
  if (auto mapped = queue->map(); !mapped) return failure(std::move(mapped));
  write_bounds(*queue->page_, *bounds);
  return queue;
}

Result<QueueFile::Bounds> QueueFile::bounds_in(int file) {
  auto size = sealed_size(file);
  if (!size) return failure(std::move(size));
  if (*size < queue::page_bytes) return failure(ErrorKind::malformed, "queue: its file is too short");
  // A copy: what is checked must be what is used.
  alignas(queue::Page) std::array<std::byte, queue::page_bytes> page{};
  const auto got = retried([&] { return ::pread(file, page.data(), page.size(), 0); });
  if (got == -1) return system_failure("queue: read its file");
  auto bounds = read_bounds(*reinterpret_cast<const queue::Page*>(page.data()));
  if (!bounds) return failure(std::move(bounds));
  if (*size != bounds->file_bytes())
    return failure(ErrorKind::malformed, "queue: its file is not as long as it says");
  return bounds;
}

QueueFile::~QueueFile() {
  if (page_ == nullptr || guard_.forked() || look_at_items == nullptr) return;
  if (page_->keeper.load(std::memory_order_relaxed) != 0) look_at_items(file_.get());
}

Result<std::shared_ptr<QueueFile>> QueueFile::open(std::vector<OwnedFd> descriptors, std::string name) {
  if (descriptors.size() != descriptor_count)
    return failure(ErrorKind::malformed, "queue " + name + ": not as many descriptors as a queue has");
  auto bounds = bounds_in(descriptors.front().get());
  if (!bounds) return failure(std::move(bounds));
  std::shared_ptr<QueueFile> queue{new QueueFile};
  queue->name_ = std::move(name);
  queue->bounds_ = *bounds;
  queue->file_ = std::move(descriptors[0]);
  queue->items_bell_ = std::move(descriptors[1]);
  std::move(descriptors.begin() + 2, descriptors.end(), queue->room_bells_.begin());
  if (auto mapped = queue->map(); !mapped) return failure(std::move(mapped));
  return queue;
}

Result<void> QueueFile::map() {
  auto own = own_mark();
  if (!own) return failure(std::move(own));
  own_ = *own;
  auto words = MemoryMap::create(file_.get(), bounds_.payload_offset(), Access::read_write);
  if (!words) return failure(std::move(words));
  auto payload = MemoryMap::create(file_.get(), bounds_.lanes() * bounds_.ring_bytes, Access::read,
                                   bounds_.payload_offset());
  if (!payload) return failure(std::move(payload));
  words_ = std::move(*words);
  payload_ = std::move(*payload);
  page_ = reinterpret_cast<queue::Page*>(words_.data());
  slots_ = reinterpret_cast<queue::Slot*>(words_.data() + queue::page_bytes);
  lanes_ = reinterpret_cast<queue::Lane*>(slots_ + bounds_.ends);
  records_ = reinterpret_cast<queue::Record*>(words_.data() + bounds_.words_bytes());
  return {};
}

// ---- use --------------------------------------------------------------------------------------------------

std::array<int, QueueFile::descriptor_count> QueueFile::descriptors() const noexcept {
  std::array<int, descriptor_count> all{file_.get(), items_bell_.get()};
  std::transform(room_bells_.begin(), room_bells_.end(), all.begin() + 2,
                 [](const OwnedFd& bell) { return bell.get(); });
  return all;
}

std::span<const std::byte> QueueFile::payload(std::size_t lane, const queue::Record& record) const noexcept {
  const std::size_t place = record.offset & (bounds_.ring_bytes - 1);
  const std::size_t length = record.length;
  if (length > bounds_.bytes_max || length > bounds_.ring_bytes - place) return {};
  return {payload_.data() + lane * bounds_.ring_bytes + place, length};
}

Result<MemoryMap> QueueFile::map_lane(std::size_t lane) const {
  const std::size_t offset = bounds_.payload_offset() + lane * bounds_.ring_bytes;
  if (auto room = allocate_memory(file_.get(), offset, bounds_.ring_bytes); !room)
    return failure(std::move(room));
  return MemoryMap::create(file_.get(), bounds_.ring_bytes, Access::read_write, offset);
}

void QueueFile::ring_all() const noexcept {
  ring(items_bell_.get());
  for (const OwnedFd& bell : room_bells_) ring(bell.get());
}

}  // namespace troupe::detail
