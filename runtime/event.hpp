// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <troupe/runtime/shared_file.hpp>
#include <troupe/transport/clock.hpp>
#include <utility>

namespace troupe {

/// A flag that any process may set and clear, and that any number of them wait for.
///
/// It is one word, so no death leaves it in between. A waiter that was there when it was set goes on, even if
/// it is cleared at once. Copies are the same event, in other processes too: as an argument of a Process, in
/// a message to an actor, and in the child of a plain fork. Threads: any. docs/shared.md.
class Event {
 public:
  Event();  ///< not set. Throws Failure where create() is an Error
  /// `exhausted` without memory or descriptors.
  [[nodiscard]] static Result<Event> create();

  void set() const noexcept;  ///< wakes all that wait
  void clear() const noexcept;
  [[nodiscard]] bool is_set() const noexcept;
  /// `timed_out` if it was not set at any time meanwhile.
  [[nodiscard]] Result<void> wait(Duration within = Duration::max()) const;

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_shared(archive, file_);
  }
  template <class Archive>
  void load(Archive& archive) {
    file_ = detail::load_shared(archive, spec);
  }

 private:
  static constexpr detail::SharedSpec spec{.kind = detail::SharedKind::event};
  explicit Event(std::shared_ptr<detail::SharedFile> file) noexcept : file_{std::move(file)} {}
  std::shared_ptr<detail::SharedFile> file_;
};

}  // namespace troupe
