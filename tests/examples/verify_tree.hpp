// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "json.hpp"
#include "verify_run.hpp"

// A folder full of files with a list of them, and coreutils' word on each.
namespace troupe::test {

using Paths = std::vector<std::string>;  ///< sorted; a path that is listed twice stands twice

/// What is true of a list: the judge's answer, never verify's.
struct Truth {
  std::uint64_t files = 0;
  std::uint64_t ok = 0;
  std::uint64_t bytes = 0;  ///< of one pass
  Paths differing{};
  Paths missing{};
  Paths unreadable{};
};

/// Paths that are in `some` and not in `others`, counted.
inline Paths without(const Paths& some, const Paths& others) {
  Paths rest;
  std::ranges::set_difference(some, others, std::back_inserter(rest));
  return rest;
}

/// A tree of files to check. `list()` names each, in md5sum's format.
class Tree {
 public:
  explicit Tree(std::size_t small_files, std::size_t large_files = 0) {
    std::filesystem::create_directory(root());
    std::filesystem::create_directory(spare());
    const auto block = noise();
    for (std::size_t i = 0; i < small_files; ++i) {
      const auto size = i * 7919 % (8 * 1024 + 1);
      write("d" + std::to_string(i % 100) + "/" + std::to_string(i), {block.data() + i * 31 % 8192, size});
    }
    for (std::size_t i = 0; i < large_files; ++i) write_large("large" + std::to_string(i), block, i);
    write("line\nbreak and back\\slash", "escaped");
    write("gr\xc3\xbc\xc3\x9f \xe2\x9c\x93", "UTF-8");
    write("\xff\xfe not UTF-8 \xc3", "bytes");
    write("empty", "");
    list_all();
    spoil(small_files, large_files);
    judge();
  }

  [[nodiscard]] std::string root() const { return folder_ / "root"; }
  [[nodiscard]] std::string list() const { return folder_ / "list"; }
  /// For the temporary files of a run.
  [[nodiscard]] std::string spare() const { return folder_ / "spare"; }
  [[nodiscard]] const Truth& truth() const { return truth_; }

  /// All that stands in the folder, the list and the spare folder included.
  [[nodiscard]] Paths everything() const {
    Paths all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{folder_.path()})
      all.push_back(entry.path().string());
    std::ranges::sort(all);
    return all;
  }

 private:
  static std::string noise() {
    std::mt19937 random{1};
    std::string block(std::size_t{1} << 20U, '\0');
    std::ranges::generate(block, [&] { return static_cast<char>(random()); });
    return block;
  }

  void write(const std::string& name, std::string_view text) {
    const std::filesystem::path path{root() + "/" + name};
    std::filesystem::create_directories(path.parent_path());
    std::ofstream{path, std::ios::binary} << text;
    names_.push_back(name);
  }
  void write_large(const std::string& name, const std::string& block, std::size_t number) {
    std::ofstream file{root() + "/" + name, std::ios::binary};
    file << number;
    for (int i = 0; i < 64; ++i) file << block;
    names_.push_back(name);
  }

  /// md5sum's output over `input`, a file in the folder; in the root, in English.
  std::string md5sum(const std::string& command, const std::string& input) {
    const auto line = "cd '" + root() + "' && LC_ALL=C " + command + " <'" + folder_ / input +
                      "' 2>/dev/null >'" + folder_ / "answer" + "'";
    (void)!std::system(line.c_str());
    auto answer = content(folder_ / "answer");
    std::filesystem::remove(folder_ / "answer");
    return answer;
  }

  void list_all() {
    std::string zero_ended;
    for (const auto& name : names_) zero_ended += name + '\0';
    std::ofstream{folder_ / "names", std::ios::binary} << zero_ended;
    lines_ = md5sum("xargs -0 md5sum", "names");
    std::filesystem::remove(folder_ / "names");
  }

  /// Changes the tree behind the list's back, and lists what is no file at all, at the front and at the end.
  void spoil(std::size_t small_files, std::size_t large_files) {
    constexpr std::string_view digest = "d41d8cd98f00b204e9800998ecf8427e  ";
    std::filesystem::create_directory(root() + "/folder");
    std::filesystem::create_symlink("nowhere", root() + "/dangling");
    ::mkfifo((root() + "/fifo").c_str(), 0600);
    std::string front;
    for (const std::string name : {"folder", "dangling", "fifo", "never there"}) {
      front.append(digest).append(name).append("\n");
      names_.insert(names_.begin() + std::count(front.begin(), front.end(), '\n') - 1, name);
    }
    lines_.insert(0, front);
    lines_.append(digest).append("empty\n").append(std::string(32, '0')).append("  empty\n");
    names_.insert(names_.end(), 2, "empty");
    for (std::size_t i = 5; i < small_files; i += small_files / 10)
      append(root() + "/d" + std::to_string(i % 100) + "/" + std::to_string(i));
    for (std::size_t i = 9; i < small_files; i += small_files / 7)
      std::filesystem::remove(root() + "/d" + std::to_string(i % 100) + "/" + std::to_string(i));
    if (large_files > 0) append(root() + "/large0");
    std::ofstream{list(), std::ios::binary} << lines_;
  }
  static void append(const std::string& path) {
    std::ofstream{path, std::ios::binary | std::ios::app} << '!';
  }

  /// Asks coreutils about every entry but the fifo, for whose writer it would wait for ever.
  void judge() {
    std::ofstream asked{folder_ / "asked", std::ios::binary};
    std::istringstream lines{lines_};
    for (std::string line; std::getline(lines, line);)
      if (!line.ends_with("  fifo")) asked << line << '\n';
    asked.close();
    std::istringstream answers{md5sum("md5sum -c", "asked")};
    std::filesystem::remove(folder_ / "asked");
    for (const auto& name : names_) {
      ++truth_.files;
      std::string answer = ": FAILED open or read";
      if (name != "fifo" && !std::getline(answers, answer)) FAIL() << "md5sum -c says nothing of " << name;
      note(name, answer);
    }
    std::string more;
    ASSERT_FALSE(std::getline(answers, more)) << more;
    for (auto* const paths : {&truth_.differing, &truth_.missing, &truth_.unreadable})
      std::ranges::sort(*paths);
  }

  void note(const std::string& name, const std::string& answer) {
    struct stat status {};
    const bool there = ::stat((root() + "/" + name).c_str(), &status) == 0;
    if (there && S_ISREG(status.st_mode)) truth_.bytes += static_cast<std::uint64_t>(status.st_size);
    if (answer.ends_with(": OK"))
      ++truth_.ok;
    else if (answer.ends_with(": FAILED"))
      truth_.differing.push_back(name);
    else if (answer.ends_with(": FAILED open or read"))
      (there ? truth_.unreadable : truth_.missing).push_back(name);
    else
      ADD_FAILURE() << "md5sum -c says: " << answer;
  }

  TemporaryFolder folder_{};
  Paths names_{};  ///< as they are listed
  std::string lines_{};
  Truth truth_{};
};

/// What verify said with --json.
struct Answer {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t ok = 0;
  Paths differing{};
  Paths missing{};
  Paths unreadable{};
  std::uint64_t lost = 0;
  std::uint64_t doubled = 0;
  std::uint64_t redone = 0;
  std::uint64_t dropped_duplicates = 0;
  struct Death {
    std::string role{};
    pid_t pid = 0;
    std::string reason{};
  };
  std::vector<Death> deaths{};

  /// Throws if it is not exactly one object with exactly the promised keys, on one line.
  [[nodiscard]] static Answer read(const std::string& text) {
    if (!text.ends_with("}\n") || text.find('\n') != text.size() - 1)
      throw std::runtime_error{"not one line: " + text};
    const Json json = JsonReader::read(text);
    const Paths keys{"bytes",   "deaths", "differing", "double",  "dropped_duplicates", "files", "lost",
                     "missing", "ok",     "redone",    "seconds", "unreadable"};
    Paths found;
    for (const auto& [key, value] : json.object()) found.push_back(key);
    if (found != keys) throw std::runtime_error{"other keys than promised: " + text};
    if (json["seconds"].number() < 0) throw std::runtime_error{"seconds below 0"};
    Answer answer{.files = json["files"].whole(),
                  .bytes = json["bytes"].whole(),
                  .ok = json["ok"].whole(),
                  .differing = paths(json["differing"]),
                  .missing = paths(json["missing"]),
                  .unreadable = paths(json["unreadable"]),
                  .lost = json["lost"].whole(),
                  .doubled = json["double"].whole(),
                  .redone = json["redone"].whole(),
                  .dropped_duplicates = json["dropped_duplicates"].whole()};
    for (const Json& death : json["deaths"].array()) {
      if (death.object().size() != 3) throw std::runtime_error{"a death with other keys"};
      answer.deaths.push_back(
          {death["role"].text(), static_cast<pid_t>(death["pid"].whole()), death["reason"].text()});
    }
    return answer;
  }

  [[nodiscard]] std::uint64_t deaths_by(std::string_view reason) const {
    return static_cast<std::uint64_t>(
        std::ranges::count_if(deaths, [&](const Death& death) { return death.reason.starts_with(reason); }));
  }

 private:
  static Paths paths(const Json& json) {
    Paths all;
    for (const Json& path : json.array()) all.push_back(path.text());
    std::ranges::sort(all);
    return all;
  }
};

/// Fails unless the answer is the truth: of verdicts too few and too many each, none. What verify says of
/// those itself has to be none as well.
inline void expect_truth(const Answer& answer, const Truth& truth) {
  Paths lost;
  Paths doubled;
  for (const auto& set : {std::pair{&answer.differing, &truth.differing},
                          {&answer.missing, &truth.missing},
                          {&answer.unreadable, &truth.unreadable}}) {
    std::ranges::copy(without(*set.second, *set.first), std::back_inserter(lost));
    std::ranges::copy(without(*set.first, *set.second), std::back_inserter(doubled));
  }
  EXPECT_EQ(lost, Paths{}) << "entries whose verdict is lost, or another one";
  EXPECT_EQ(doubled, Paths{}) << "verdicts that are too many, or other ones";
  EXPECT_EQ(answer.ok, truth.ok);
  EXPECT_EQ(answer.files, truth.files);
  EXPECT_EQ(answer.lost, 0);
  EXPECT_EQ(answer.doubled, 0);
  // A verdict that an earlier pass lost or counted twice shows here.
  EXPECT_GT(answer.bytes, 0);
  EXPECT_EQ(answer.bytes % truth.bytes, 0) << "bytes " << answer.bytes << ", of one pass " << truth.bytes;
}

}  // namespace troupe::test
