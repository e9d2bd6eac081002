// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {

/// Where this process's `ipc://*` places are made (XDG_RUNTIME_DIR), for its life: nobody else's next place
/// sweeps what lies here.
class PlacesFolder {
 public:
  PlacesFolder() {
    std::string name = "/tmp/troupe-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw Failure{detail::system_error("mkdtemp", errno)};
    path_ = name;
    if (const char* const before = std::getenv(variable)) before_ = before;
    ::setenv(variable, name.c_str(), 1);
  }
  PlacesFolder(const PlacesFolder&) = delete;
  ~PlacesFolder() {
    if (before_)
      ::setenv(variable, before_->c_str(), 1);
    else
      ::unsetenv(variable);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  static constexpr const char* variable = "XDG_RUNTIME_DIR";
  std::filesystem::path path_{};
  std::optional<std::string> before_{};
};

}  // namespace troupe::test
