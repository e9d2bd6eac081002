// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace troupe::test {

/// A folder of its own, gone with it.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "troupe_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  /// Makes a file in it: its path.
  [[nodiscard]] std::string file(
      const std::string& name, const std::string& text,
      std::filesystem::perms permissions = std::filesystem::perms::owner_all) const {
    const auto path = path_ / name;
    std::ofstream{path} << text;
    std::filesystem::permissions(path, permissions);
    return path;
  }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace troupe::test
