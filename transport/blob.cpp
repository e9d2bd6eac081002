// SPDX-License-Identifier: MIT
#include <troupe/transport/blob.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

constexpr char label[] = "troupe-blob";

/// Faster than through a mapping, whose pages would be faulted in one by one.
Result<void> write_all(int file, std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const auto rest = bytes.subspan(at);
    const auto written =
        detail::retried([&] { return ::pwrite(file, rest.data(), rest.size(), static_cast<off_t>(at)); });
    if (written == -1) return detail::system_failure("write a blob");
    at += static_cast<std::size_t>(written);
  }
  return {};
}

}  // namespace

Blob::Blob(OwnedFd file, std::size_t bytes) {
  auto memory = std::make_shared<Memory>();
  memory->file = std::move(file);
  memory->bytes = bytes;
  memory_ = std::move(memory);
}

Result<Blob> Blob::create(std::span<const std::byte> bytes) {
  if (bytes.empty()) return Blob{};
  auto file = create_memory(label, bytes.size());
  if (!file) return failure(std::move(file));
  if (auto written = write_all(file->get(), bytes); !written) return failure(std::move(written));
  if (auto sealed = seal_for_good(file->get()); !sealed) return failure(std::move(sealed));
  return Blob{std::move(*file), bytes.size()};
}

Result<std::span<const std::byte>> Blob::bytes() const {
  if (!memory_) return std::span<const std::byte>{};
  const std::lock_guard lock{memory_->mapping};
  if (!memory_->map) {
    auto map = MemoryMap::create(memory_->file.get(), memory_->bytes, Access::read_sealed);
    if (!map) return failure(std::move(map));
    // Nobody can write to it, so a plain fork's child may go on reading.
    ::madvise(map->data(), map->size(), MADV_DOFORK);
    memory_->map = std::move(*map);
  }
  return std::span<const std::byte>{memory_->map.data(), memory_->map.size()};
}

Blob Blob::received(OwnedFd file, std::size_t bytes) {
  check_sealed_for_good(file.get(), bytes).value();
  return Blob{std::move(file), bytes};
}

Result<BlobWriter> BlobWriter::create(std::size_t bytes) {
  if (bytes == 0) return BlobWriter{{}, {}};
  auto file = create_memory(label, bytes);
  if (!file) return failure(std::move(file));
  auto map = MemoryMap::create(file->get(), bytes, Access::read_write);
  if (!map) return failure(std::move(map));
  return BlobWriter{std::move(*file), std::move(*map)};
}

Result<Blob> BlobWriter::seal() && {
  const std::size_t bytes = map_.size();
  if (bytes == 0) return Blob{};
  map_ = MemoryMap{};
  if (auto sealed = seal_for_good(file_.get()); !sealed) return failure(std::move(sealed));
  return Blob{std::move(file_), bytes};
}

}  // namespace troupe
