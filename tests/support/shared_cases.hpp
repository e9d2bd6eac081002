// SPDX-License-Identifier: MIT
#pragma once
// Locks and shared values between processes of every kind.

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <functional>
#include <optional>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <troupe/transport/memory_map.hpp>
#include <utility>

#include "leaves_nothing.hpp"
#include "processes.hpp"
#include "transport/forked.hpp"

namespace troupe::test {

/// How another process comes to have an object.
enum class Way {
  forkserver,  ///< as an argument
  spawn,       ///< likewise
  fork,        ///< it has a copy of all its parent has
};
inline const auto all_ways = ::testing::Values(Way::forkserver, Way::spawn, Way::fork);
inline std::string name_of_way(const ::testing::TestParamInfo<Way>& way) {
  constexpr std::array names{"forkserver", "spawn", "fork"};
  return names.at(static_cast<std::size_t>(way.param));
}

/// A process that runs a function, started in one of these ways. Killed with this object if it still runs.
class Child {
 public:
  template <class... P, class... A>
  Child(Way way, void (*function)(P...), const A&... arguments) {
    if (way == Way::fork) {
      forked_.emplace([&] {
        function(arguments...);
        return 0;
      });
      return;
    }
    const auto method = way == Way::spawn ? StartMethod::spawn : StartMethod::forkserver;
    process_.emplace(ProcessOptions{.name = "child", .daemon = true, .method = method}, function,
                     arguments...);
    process_->start().value();
  }

  void kill() {
    if (forked_) return forked_->kill();
    process_->kill().value();
    [[maybe_unused]] const auto report = process_->join(patience);
  }
  /// Whether it came to the end of its function.
  [[nodiscard]] bool ended_well() {
    if (forked_) return forked_->exit_code(deadline_in(patience)) == 0;
    const auto report = process_->join(patience);
    const auto* const exited = report ? std::get_if<Exited>(&report->status()) : nullptr;
    return exited != nullptr && exited->code == 0;
  }

 private:
  std::optional<Forked> forked_{};
  std::optional<Process> process_{};
};

/// A fixture for what is the same in all ways.
class BetweenProcesses : public LeavesNothing, public ::testing::WithParamInterface<Way> {
 protected:
  template <class... P, class... A>
  [[nodiscard]] static Child start(void (*function)(P...), const A&... arguments) {
    return Child{GetParam(), function, arguments...};
  }
};

/// The memory file of a lock or shared value, as another process would get it.
template <class T>
OwnedFd file_of(const T& object) {
  DescriptorList descriptors{1};
  std::array<std::byte, 64> bytes{};
  [[maybe_unused]] const std::size_t size = encode(object, bytes, &descriptors).value();
  return std::move(std::move(descriptors).take().front());
}

/// What becomes of a file that another process hands over as a T.
template <class T>
Result<T> from_file(OwnedFd file) {
  std::vector<OwnedFd> files;
  files.push_back(std::move(file));
  DescriptorList descriptors{std::move(files)};
  const std::uint64_t name = 0;
  return decode<T>(std::as_bytes(std::span{&name, 1}), &descriptors);
}

/// Its words, for whoever wants to look at them, or to scribble.
class Words {
 public:
  template <class T>
  explicit Words(const T& object)
      : map_{MemoryMap::create(file_of(object).get(), 4096, Access::read_write).value()} {
    ::madvise(map_.data(), map_.size(), MADV_DOFORK);
  }
  template <class Word>
  [[nodiscard]] Word& at(std::size_t offset) const {
    return *reinterpret_cast<Word*>(map_.data() + offset);
  }
  static constexpr std::size_t owner = 4088;  ///< of the lock
  static constexpr std::size_t first = 64;    ///< behind the header

 private:
  MemoryMap map_;
};

}  // namespace troupe::test
