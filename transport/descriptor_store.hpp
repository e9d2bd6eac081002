// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <utility>
#include <vector>

namespace troupe {

/// Where descriptors wait for whoever decodes the value that they belong to: bytes in shared memory cannot
/// carry them.
///
/// `encode` puts each descriptor of a value and writes the name it gets; `decode` gets it by that name. What
/// a store is decides the way of travelling. Here it is a list (DescriptorList), which goes beside the frame
/// of a socket channel, with a start request, or to the keeper, where it waits for the reader of a lane.
/// Without a store a value that holds descriptors is `refused`.
class DescriptorStore {
 public:
  DescriptorStore() = default;
  DescriptorStore(const DescriptorStore&) = delete;
  DescriptorStore& operator=(const DescriptorStore&) = delete;
  virtual ~DescriptorStore() = default;

  /// Keeps a copy of `fd`; the caller's stays its own. `exhausted` when the store is full.
  [[nodiscard]] virtual Result<std::uint64_t> put(int fd) = 0;
  /// A copy of what was put under that name, close-on-exec. `malformed` for a name that the store does not
  /// know.
  [[nodiscard]] virtual Result<OwnedFd> get(std::uint64_t name) = 0;
  /// Nobody will ask for it any more. Unknown names are ignored.
  virtual void drop(std::uint64_t name) noexcept = 0;

  /// To be told the pid of the process that gets the value, once that is known. False where nobody will say:
  /// only a start knows.
  using OnceKnown = std::function<void(std::int32_t pid)>;
  virtual bool once_known(const OnceKnown& /*act*/) { return false; }
};

/// The descriptors of one value, in the order in which it names them; a name is a place in this list.
///
/// The sender encodes into an empty one and sends borrowed() beside the bytes; the receiver decodes from one
/// made of what has arrived. A place is given out once: a name that comes again, or is none, is `malformed`.
/// Owner: one thread at a time.
class DescriptorList : public DescriptorStore {
 public:
  /// `descriptors_max`: how many can travel at once; one more is `exhausted`.
  explicit DescriptorList(std::size_t descriptors_max) noexcept : descriptors_max_{descriptors_max} {}
  explicit DescriptorList(std::vector<OwnedFd> arrived) noexcept : descriptors_{std::move(arrived)} {}

  [[nodiscard]] Result<std::uint64_t> put(int fd) override;
  [[nodiscard]] Result<OwnedFd> get(std::uint64_t name) override;
  void drop(std::uint64_t name) noexcept override;

  [[nodiscard]] bool empty() const noexcept { return descriptors_.empty(); }
  /// To be sent beside the bytes. Valid until the list changes.
  [[nodiscard]] std::vector<int> borrowed() const;
  [[nodiscard]] std::vector<OwnedFd> take() && noexcept { return std::move(descriptors_); }

 private:
  std::vector<OwnedFd> descriptors_{};
  std::size_t descriptors_max_ = 0;
};

/// Any descriptor as a value: a file, a socket, an end of a pipe. Its receiver gets one of its own, for the
/// same open file, close-on-exec; what it is, the receiver checks.
struct Descriptor {
  OwnedFd fd{};

  template <class Archive>
  void save(Archive& archive) const {
    archive(static_cast<bool>(fd));
    if (fd) archive.deposit(fd.get());
  }
  template <class Archive>
  void load(Archive& archive) {
    bool is_there = false;
    archive(is_there);
    fd = is_there ? archive.withdraw() : OwnedFd{};
  }
};

}  // namespace troupe
