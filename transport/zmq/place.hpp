// SPDX-License-Identifier: MIT
#pragma once
// Internal. What may be listened on and connected to.

#include <cstdint>
#include <string>
#include <troupe/transport/fork_guard.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/zmq/keys.hpp>
#include <utility>

namespace troupe::zmq::detail {

/// Where an end listens: checked, and gone with this object.
///
/// `tcp://` off loopback is `refused` without CURVE and a list of keys; `ipc://` in a folder that others can
/// enter as well. `ipc://*` makes a folder of its own (0700). If every process dies that knows the folder, it
/// stays, with one socket in it, until any process of the same user makes the next one.
class Place {
 public:
  [[nodiscard]] static Result<Place> create(const std::string& endpoint, const Security& security);

  Place(Place&& other) noexcept
      : endpoint_{std::move(other.endpoint_)},
        folder_{std::exchange(other.folder_, {})},
        guard_{other.guard_} {}
  Place& operator=(Place&&) = delete;
  ~Place();

  [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }

 private:
  Place(std::string endpoint, std::string folder)
      : endpoint_{std::move(endpoint)}, folder_{std::move(folder)} {}

  std::string endpoint_;
  std::string folder_;  ///< ours to remove; empty: none
  troupe::detail::ForkGuard guard_{};
};

/// `refused` for `tcp://` off loopback without CURVE, `invalid` for what is no endpoint.
[[nodiscard]] Result<void> check_reachable(const std::string& endpoint, const Security& security);

/// Removes the folder of an `ipc://` place whose maker has died.
void sweep_place(const std::string& endpoint) noexcept;
/// The same for all such folders of this user and this machine.
void sweep_places(std::uint64_t here) noexcept;

}  // namespace troupe::zmq::detail
