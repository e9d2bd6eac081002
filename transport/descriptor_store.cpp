// SPDX-License-Identifier: MIT
#include <troupe/transport/descriptor_store.hpp>

#include <troupe/transport/syscall.hpp>

namespace troupe {

Result<std::uint64_t> DescriptorList::put(int fd) {
  if (descriptors_.size() >= descriptors_max_)
    return failure(ErrorKind::exhausted, "descriptors: at most " + std::to_string(descriptors_max_) +
                                             " may travel with one value; try several");
  auto copy = detail::copied(fd, "copy a descriptor");
  if (!copy) return failure(std::move(copy));
  descriptors_.push_back(std::move(*copy));
  return descriptors_.size() - 1;
}

Result<OwnedFd> DescriptorList::get(std::uint64_t name) {
  if (name >= descriptors_.size() || !descriptors_[name])
    return failure(ErrorKind::malformed,
                   "descriptors: number " + std::to_string(name) + " has not come, or was named before");
  return std::move(descriptors_[name]);
}

void DescriptorList::drop(std::uint64_t name) noexcept {
  if (name < descriptors_.size()) descriptors_[name].reset();
  while (!descriptors_.empty() && !descriptors_.back()) descriptors_.pop_back();
}

std::vector<int> DescriptorList::borrowed() const {
  std::vector<int> numbers;
  numbers.reserve(descriptors_.size());
  for (const OwnedFd& fd : descriptors_) numbers.push_back(fd.get());
  return numbers;
}

}  // namespace troupe
