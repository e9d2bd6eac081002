// SPDX-License-Identifier: MIT
#include "nothing_left.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>

namespace troupe::test {
namespace {

std::optional<int> as_number(const std::string& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional{number} : std::nullopt;
}

std::filesystem::path folder_of(pid_t pid) { return "/proc/" + std::to_string(pid); }

std::map<int, std::string> descriptors_of(pid_t pid) {
  std::map<int, std::string> found;
  // The listing's own descriptor is closed by the time its link is read, and so not listed.
  std::vector<std::filesystem::path> links;
  for (const auto& entry : std::filesystem::directory_iterator{folder_of(pid) / "fd"})
    links.push_back(entry.path());
  for (const auto& link : links) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(link, gone);
    if (!gone) found.emplace(as_number(link.filename()).value_or(-1), target);
  }
  return found;
}

std::vector<std::string> mappings_of(pid_t pid) {
  std::vector<std::string> found;
  std::ifstream maps{folder_of(pid) / "maps"};
  for (std::string line; std::getline(maps, line);) {
    if (const auto name = line.find("/memfd:"); name != std::string::npos) found.push_back(line.substr(name));
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// The parent's pid stands two fields behind the name, which is in brackets and may itself hold any.
pid_t parent_of(const std::filesystem::path& process) {
  std::ifstream file{process / "stat"};
  std::string stat;  // empty if the process ends meanwhile; an iterator over the stream would throw
  std::getline(file, stat, '\0');
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 4 >= stat.size()) return -1;
  const auto first = name_end + 4;
  return as_number(stat.substr(first, stat.find(' ', first) - first)).value_or(-1);
}

/// As the kernel lists them, where it was built to: far faster than a look at every process.
std::optional<std::vector<pid_t>> listed_children_of(pid_t pid) {
  std::vector<pid_t> found;
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator{folder_of(pid) / "task", gone}) {
    std::ifstream list{thread.path() / "children"};
    if (!list) return std::nullopt;
    std::copy(std::istream_iterator<pid_t>{list}, {}, std::back_inserter(found));
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<pid_t> children_of(pid_t pid) {
  if (auto listed = listed_children_of(pid)) return *std::move(listed);
  std::vector<pid_t> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc", ignored}) {
    const auto other = as_number(entry.path().filename());
    if (other && parent_of(entry.path()) == pid) found.push_back(*other);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

Holdings Holdings::now() { return of(::getpid()); }

Holdings Holdings::of(pid_t pid) { return {descriptors_of(pid), mappings_of(pid), children_of(pid)}; }

std::size_t reserved_addresses(pid_t pid) {
  std::size_t found = 0;
  std::ifstream maps{folder_of(pid) / "maps"};
  for (std::string line; std::getline(maps, line);)
    if (line.find(" ---p 00000000 00:00 0") != std::string::npos) ++found;
  return found;
}

std::vector<std::string> left_over(const Holdings& before, const Holdings& after) {
  std::vector<std::string> lines;
  for (const auto& [number, target] : after.descriptors) {
    const auto old = before.descriptors.find(number);
    if (old == before.descriptors.end() || old->second != target) {
      lines.push_back("descriptor " + std::to_string(number) + " → " + target);
    }
  }
  std::vector<std::string> mappings;
  std::set_difference(after.mappings.begin(), after.mappings.end(), before.mappings.begin(),
                      before.mappings.end(), std::back_inserter(mappings));
  for (const auto& mapping : mappings) lines.push_back("mapping of " + mapping);
  std::vector<pid_t> children;
  std::set_difference(after.children.begin(), after.children.end(), before.children.begin(),
                      before.children.end(), std::back_inserter(children));
  for (const auto child : children) lines.push_back("child " + std::to_string(child));
  return lines;
}

NothingLeft::NothingLeft() : before_{Holdings::now()} {}

NothingLeft::~NothingLeft() {
  for (const auto& line : left_over(before_, Holdings::now())) ADD_FAILURE() << "left behind: " << line;
}

}  // namespace troupe::test
