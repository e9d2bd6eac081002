// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <troupe/runtime/shared_file.hpp>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/fork_guard.hpp>
#include <utility>

namespace troupe {

struct SemaphoreOptions {
  std::uint32_t permits = 1;      ///< at the beginning; 0 to permits_max
  std::uint32_t permits_max = 0;  ///< more are never issued; 0: as many as at the beginning
};

/// A permit that is held until this object ends, release() or spend().
///
/// It is leased to the process: if that dies, the permit comes back. May end in another thread than it was
/// taken in. The copy that a plain fork's child has of it does nothing.
class Permit {
 public:
  Permit() noexcept = default;  ///< holds nothing
  Permit(Permit&& other) noexcept;
  Permit& operator=(Permit&& other) noexcept;
  ~Permit() { release(); }

  void release() noexcept;  ///< gives it back; does nothing if nothing is held
  /// Uses it up: it does not come back, so there is one less until Semaphore::release(). Turns the semaphore
  /// into a count of things to be done.
  void spend() noexcept;
  [[nodiscard]] bool held() const noexcept { return file_ != nullptr; }

 private:
  friend class Semaphore;
  Permit(std::shared_ptr<detail::SharedFile> file, std::size_t place, std::uint64_t process) noexcept
      : file_{std::move(file)}, place_{place}, process_{process} {}
  void end() noexcept;

  std::shared_ptr<detail::SharedFile> file_{};
  std::size_t place_ = 0;
  std::uint64_t process_ = 0;
  detail::ForkGuard fork_{};
};

/// A number of permits, of which each is held by one process at a time.
///
/// What a process holds is written down beside its name, and the number of free permits is reckoned from
/// that, never stored: so a process that is killed at any instruction neither loses nor doubles one. Whoever
/// waits looks for dead holders, so theirs are free again within 100 ms; so does whoever comes and finds none
/// free. At most 240 processes hold permits at a time.
/// Copies are the same semaphore, in other processes too: as an argument of a Process, in a message to an
/// actor, and in the child of a plain fork. Threads: any. docs/shared.md.
class Semaphore {
 public:
  explicit Semaphore(SemaphoreOptions options = {});  ///< throws Failure where create() is an Error
  /// `invalid` for options that contradict each other, `exhausted` without memory or descriptors.
  [[nodiscard]] static Result<Semaphore> create(SemaphoreOptions options = {});

  /// `timed_out`; `exhausted` when 240 other processes hold permits. A process that was stopped at a wrong
  /// moment can delay the answer by 100 ms.
  [[nodiscard]] Result<Permit> acquire(Duration within = Duration::max()) const;
  [[nodiscard]] Result<Permit> try_acquire() const { return acquire(Duration::zero()); }
  /// Issues `permits` more. `invalid` if that would be more than permits_max: then none are. A permit that
  /// is held is given back by itself, not by this.
  Result<void> release(std::uint32_t permits = 1) const;
  /// Number of permits that are free now; those of the dead are when somebody has looked.
  [[nodiscard]] std::uint32_t available() const noexcept;

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_shared(archive, file_);
  }
  template <class Archive>
  void load(Archive& archive) {
    file_ = detail::load_shared(archive, spec);
  }

 private:
  static constexpr detail::SharedSpec spec{.kind = detail::SharedKind::semaphore};
  explicit Semaphore(std::shared_ptr<detail::SharedFile> file) noexcept : file_{std::move(file)} {}
  [[nodiscard]] Result<Permit> try_as(std::uint64_t process) const;
  std::shared_ptr<detail::SharedFile> file_;
};

}  // namespace troupe
