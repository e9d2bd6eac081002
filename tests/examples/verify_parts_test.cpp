// SPDX-License-Identifier: MIT
// The parts of examples/verify that need no actors. Coreutils' own md5sum is the reference.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "judge.hpp"
#include "manifest.hpp"
#include "md5.hpp"
#include "options.hpp"
#include "report.hpp"
#include "view.hpp"

namespace {

using namespace verify;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

const std::string hex_of_x = "9dd4e461268c8034f5c8564e155c67a6";

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "verify-parts-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }

  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }
  std::string write(const std::string& name, std::string_view content) const {
    fs::create_directories(fs::path{*this / name}.parent_path());
    std::ofstream{*this / name, std::ios::binary} << content;
    return *this / name;
  }

 private:
  std::string path_;
};

std::string contents(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

// What a shell command prints, with the folder as its working directory.
std::string shell(const Folder& folder, const std::string& command) {
  const auto answer = folder / ".answer";
  const auto line = "cd '" + folder.path() + "' && LC_ALL=C " + command + " >'" + answer + "'";
  (void)!std::system(line.c_str());
  auto text = contents(answer);
  fs::remove(answer);
  return text;
}

Digest digest_of(std::string_view text) {
  Md5State state;
  state.update(std::as_bytes(std::span{text}));
  return state.digest();
}

std::string hex(const Digest& digest) {
  std::string text;
  for (const auto byte : digest) {
    std::array<char, 3> pair{};
    std::snprintf(pair.data(), pair.size(), "%02x", static_cast<unsigned>(byte));
    text += pair.data();
  }
  return text;
}

std::string as_text(const Item& item) {
  if (const auto* bad = std::get_if<Malformed>(&item)) return "line " + std::to_string(bad->line);
  const auto& entry = std::get<Entry>(item);
  return hex(entry.digest) + " " + entry.path;
}

std::vector<std::string> as_texts(const std::vector<Item>& items) {
  std::vector<std::string> texts;
  texts.reserve(items.size());
  for (const auto& item : items) texts.push_back(as_text(item));
  return texts;
}

std::vector<Item> read_all(ManifestReader reader) {
  std::vector<Item> items;
  while (auto item = reader.next().value()) items.push_back(*std::move(item));
  return items;
}

std::vector<Item> read_all(std::vector<std::string> files) {
  return read_all(ManifestReader::open(std::move(files)).value());
}

// Names that md5sum writes in more than one way, and all the ways lines come in.
std::vector<std::string> tricky_names() {
  return {"a",       "a b",    " lead",    "*star",     "back\\slash", "new\nline", "cr\rx",
          "crend\r", "tab\tx", "\xff\xfe", "(p)",       "a) = b",      "hash # x",  "#h",
          "\\lead",  "\\n",    "x: OK",    "x: FAILED", "t ",          "ü",         "both\n\\\r"};
}

// One line of each kind for a file "a" that holds "x"; whether it is one of md5sum's depends on the line.
std::vector<std::string> tricky_lines() {
  const auto& h = hex_of_x;
  const std::string nul(1, '\0');
  std::string upper = h;
  for (auto& c : upper) c = static_cast<char>(std::toupper(c));
  return {h + "  a",
          h + " *a",
          upper + "  a",
          " \t" + h + "  a",
          "\v" + h + "  a",
          h + "  a\r",
          "",
          "   ",
          "\r",
          "# comment",
          "  # comment",
          h.substr(1) + "  a",
          h + "0  a",
          h + "  ",
          h + " ",
          h,
          "g" + h.substr(1) + "  a",
          h + "   a",
          "\\" + h + "  new\\nline",
          "\\" + h + "  back\\\\slash",
          "\\" + h + "  cr\\rx",
          "\\" + h + "  a\\tb",
          "\\" + h + "  a\\",
          "\\" + h + "  a" + nul + "b",
          h + "  a" + nul + "b",
          h + "  " + nul + "b",
          h.substr(0, 10) + nul + h.substr(11) + "  a",
          h + nul + " a",
          "\\" + h + "  a",
          "  \\" + h + "  a",
          h + "  back\\slash",
          "\\\\" + h + "  a",
          "\\# x",
          "MD5 (a) = " + h,
          "MD5(a)=" + h,
          "MD5 (a)  =  " + h,
          "md5 (a) = " + h,
          " MD5 (a) = " + h,
          "\\MD5 (new\\nline) = " + h,
          "MD5 (a) = b) = " + h,
          "MD5 (a) = " + h + "\r",
          "MD5 (a) = " + h + " ",
          "MD5 (a) = " + h + "00",
          "MD5 (a) = " + h.substr(1),
          "MD5 (a)\t=\t" + h,
          "MD5\t(a) = " + h,
          "MD5  (a) = " + h,
          "MD5 () = " + h,
          "\\MD5 (b\\tk) = " + h,
          "MD5 (a" + nul + "b) = " + h,
          "MD5 (a) = " + h + nul + "junk",
          "MD5",
          "MD5 (",
          "MD5 )(",
          "MD5 (a)",
          "MD5 (a) =",
          "SHA1 (a) = " + h,
          "\xef\xbb\xbf" + h + "  a",
          h + "  crend\r\r",
          h + "  nope",
          h + "  a/",
          h + "  a/b",
          h + "  folder",
          h + "  -",
          "MD5 (-) = " + h,
          h + " * a",
          "\\" + h + " *new\\nline",
          h + "  ./a",
          h + "  ../" + std::string(5000, 'a'),
          h + "\t a",
          h + "\ta"};
}

void write_tricky_files(const Folder& folder) {
  for (const auto& name : tricky_names()) folder.write(name, "x");
  fs::create_directory(folder / "folder");
}

// The verdicts of md5sum -c over the entries we read, in md5sum's own words.
std::string our_answer(const Folder& folder, const std::vector<Item>& items) {
  auto check = FileCheck::create(folder.path()).value();
  std::string answer;
  for (const auto& item : items) {
    const auto* entry = std::get_if<Entry>(&item);
    if (entry == nullptr) continue;
    check.begin(*entry);
    auto verdict = check.step();
    while (!verdict) verdict = check.step();
    std::string name;
    const bool newline = entry->path.find('\n') != std::string::npos;
    for (const char c : entry->path) {
      if (newline && c == '\n') name += "\\n";
      if (newline && c == '\r') name += "\\r";
      if (newline && c == '\\') name += "\\\\";
      if (!newline || (c != '\n' && c != '\r' && c != '\\')) name += c;
    }
    answer += (newline ? "\\" : "") + name + ": " + std::string{to_string(as_judge(*verdict))} + "\n";
  }
  return answer;
}

std::string joined(const std::vector<std::string>& lines, const std::string& end = "\n") {
  std::string text;
  for (const auto& line : lines) text += line + end;
  return text;
}

// ── lists ────────────────────────────────────────────────────────────────────────────────────────────

TEST(Manifest, ReadsEachTrickyLineAsMd5sumDoes) {
  const Folder folder;
  write_tricky_files(folder);
  for (const auto& line : tricky_lines()) {
    const auto list = folder.write("list", line + "\n");
    const auto theirs = shell(folder, "md5sum -c <list 2>/dev/null");
    EXPECT_EQ(our_answer(folder, read_all({list})), theirs) << testing::PrintToString(line);
  }
}

TEST(Manifest, ReadsAWholeListOfTrickyLinesAsMd5sumDoes) {
  const Folder folder;
  write_tricky_files(folder);
  const auto list = folder.write("list", joined(tricky_lines()));
  EXPECT_EQ(our_answer(folder, read_all({list})), shell(folder, "md5sum -c <list 2>/dev/null"));
}

TEST(Manifest, RemembersTheSeparatorThatTheFirstLineHad) {
  const Folder folder;
  write_tricky_files(folder);
  auto lines = tricky_lines();
  lines.insert(lines.begin(), hex_of_x + " a");
  const auto list = folder.write("list", joined(lines));
  EXPECT_EQ(our_answer(folder, read_all({list})), shell(folder, "md5sum -c <list 2>/dev/null"));
}

TEST(Manifest, ReadsAllThatMd5sumWrites) {
  const Folder folder;
  for (const auto& name : tricky_names()) folder.write("files/" + name, "x");
  for (const std::string flags : {"", "--tag", "-b"}) {
    const auto list = folder.write("list", shell(folder, "sh -c 'cd files && md5sum " + flags + " -- *'"));
    std::vector<std::string> names;
    for (const auto& item : read_all({list})) names.push_back(std::get<Entry>(item).path);
    auto expected = tricky_names();
    std::sort(expected.begin(), expected.end());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, expected) << flags;
  }
}

TEST(Manifest, NamesTheLinesThatMd5sumFindsMalformed) {
  const Folder folder;
  write_tricky_files(folder);
  const auto list = folder.write("list", joined(tricky_lines()));
  const auto warnings =
      shell(folder, "md5sum -c --warn <list 2>&1 >/dev/null | grep ': improperly' | cut -d: -f3");
  std::string ours;
  for (const auto& item : read_all({list})) {
    if (const auto* bad = std::get_if<Malformed>(&item)) ours += " " + std::to_string(bad->line) + "\n";
  }
  EXPECT_FALSE(ours.empty());
  EXPECT_EQ(ours, warnings);
}

TEST(Manifest, GoesOnBehindEveryItem) {
  const Folder folder;
  const std::vector<std::string> files{folder.write("1", joined(tricky_lines())), folder.write("2", ""),
                                       folder.write("3", "bad\n" + hex_of_x + "  last, without newline")};
  const auto all = as_texts(read_all(files));
  auto reader = ManifestReader::open(files).value();
  for (std::size_t done = 1; done <= all.size(); ++done) {
    ASSERT_TRUE(reader.next().value());
    const auto rest = as_texts(read_all(ManifestReader::open(files, reader.place()).value()));
    EXPECT_EQ(rest, std::vector<std::string>(all.begin() + static_cast<std::ptrdiff_t>(done), all.end()));
  }
  EXPECT_FALSE(reader.next().value());
  EXPECT_FALSE(reader.next().value());
}

// Around the bound, around the window's end, endless, a comment, and at the end of the text.
std::vector<std::pair<std::string, bool>> long_lines() {
  const auto name = [](std::size_t line_bytes) {
    return hex_of_x + "  " + std::string(line_bytes - 34, 'n');
  };
  return {{name(line_bytes_max), true},          {name(line_bytes_max + 1), false},
          {name(2 * line_bytes_max - 1), false}, {name(2 * line_bytes_max), false},
          {name(2 * line_bytes_max + 1), false}, {name(20 * line_bytes_max), false}};
}

TEST(Manifest, RefusesALineThatIsTooLongAndReadsOn) {
  for (const auto& [line, accepted] : long_lines()) {
    const Folder folder;
    const auto after = hex_of_x + "  after\n";
    std::string text = hex_of_x;
    text.append("  a\n").append(line).append("\n").append(after);
    text.append("#").append(line).append("\n").append(after).append(line);
    const auto items = read_all({folder.write("list", text)});
    LineSplitter splitter{"list"};
    auto fed = splitter.feed(text);
    for (auto& item : splitter.finish()) fed.push_back(item);
    ASSERT_EQ(items.size(), 5U) << line.size();
    EXPECT_EQ(std::holds_alternative<Entry>(items[1]), accepted) << line.size();
    EXPECT_EQ(as_text(items[2]), hex_of_x + " after");
    EXPECT_EQ(as_text(items[3]), hex_of_x + " after");
    EXPECT_EQ(std::holds_alternative<Entry>(items[4]), accepted);
    if (!accepted) {
      EXPECT_EQ(std::get<Malformed>(items[1]).line, 2U);
      EXPECT_EQ(std::get<Malformed>(items[4]).line, 6U);
    }
    EXPECT_EQ(as_texts(fed), as_texts(items)) << line.size();
  }
}

TEST(Manifest, SaysWhichListCannotBeReadAndWhy) {
  const Folder folder;
  const auto good = folder.write("good", hex_of_x + "  a\n");
  const auto why = [](const std::string& file) { return ManifestReader::open({file}).error().text; };
  EXPECT_EQ(why(folder / "none"),
            folder / "none" + ": No such file or directory; try a list that this user may read");
  EXPECT_NE(why(folder.path()).find("is a folder"), std::string::npos);
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_NE(why(folder / "fifo").find("try --manifest - < "), std::string::npos);

  auto reader = ManifestReader::open({good, folder / "none", good}).value();
  EXPECT_TRUE(reader.next().value());
  EXPECT_EQ(reader.next().error().errnum, ENOENT);
  EXPECT_EQ(as_text(reader.next().value().value()), hex_of_x + " a");
  EXPECT_FALSE(reader.next().value());
}

TEST(Manifest, ReadsADescriptorThatIsOpenAlready) {
  const Folder folder;
  const auto list = folder.write("list", joined(tricky_lines()));
  auto reader = ManifestReader::over(troupe::OwnedFd{::open(list.c_str(), O_RDONLY | O_CLOEXEC)}, list);
  EXPECT_EQ(as_texts(read_all(std::move(reader).value())), as_texts(read_all({list})));
}

TEST(Manifest, FindsDebiansListsUnderARootInOrder) {
  const Folder folder;
  EXPECT_EQ(dpkg_lists(folder.path()).error().errnum, ENOENT);
  folder.write("var/lib/dpkg/info/b.list", "");
  EXPECT_NE(dpkg_lists(folder.path()).error().text.find("holds no *.md5sums lists; try"), std::string::npos);
  const auto b = folder.write("var/lib/dpkg/info/b.md5sums", "");
  const auto a = folder.write("var/lib/dpkg/info/a:amd64.md5sums", "");
  EXPECT_EQ(dpkg_lists(folder.path()).value(), (std::vector{a, b}));
  EXPECT_EQ(dpkg_lists(folder.path() + "/").value(), (std::vector{a, b}));
}

TEST(LineSplitter, GivesTheSameItemsHoweverTheTextIsCut) {
  const Folder folder;
  const auto text = joined(tricky_lines()) + hex_of_x + "  last";
  const auto expected = as_texts(read_all({folder.write("list", text)}));
  for (const std::size_t piece : {1U, 2U, 7U, 4096U, 1U << 20U}) {
    SplitterState state;
    std::vector<Item> items;
    const auto take = [&](std::vector<Item> more) { items.insert(items.end(), more.begin(), more.end()); };
    for (std::size_t i = 0; i < text.size(); i += piece) {
      LineSplitter splitter{"stdin", state};  // as if it had died after each piece
      take(splitter.feed(std::string_view{text}.substr(i, piece)));
      state = splitter.state();
    }
    take(LineSplitter{"stdin", state}.finish());
    EXPECT_EQ(as_texts(items), expected) << piece;
  }
}

TEST(LineSplitter, StaysSmallInAnEndlessLine) {
  LineSplitter splitter{"stdin"};
  std::size_t items = 0;
  for (int i = 0; i < 1000; ++i) {
    items += splitter.feed(std::string(10'000, 'x')).size();
    ASSERT_LE(splitter.state().tail.size(), line_bytes_max);
  }
  EXPECT_EQ(items, 1U);
  EXPECT_EQ(as_texts(splitter.feed("\n" + hex_of_x + "  a\n")), std::vector{hex_of_x + " a"});
}

// ── checking ─────────────────────────────────────────────────────────────────────────────────────────

std::string noise(std::size_t bytes) {
  std::string text(bytes, '\0');
  std::uint32_t state = 1;
  for (auto& c : text) c = static_cast<char>((state = state * 1664525U + 1013904223U) >> 24U);
  return text;
}

Verdict check_to_the_end(FileCheck& check) {
  auto verdict = check.step();
  while (!verdict) verdict = check.step();
  return *verdict;
}

Verdict verdict_on(const Folder& folder, const std::string& path, const Digest& digest = {}) {
  auto check = FileCheck::create(folder.path()).value();
  check.begin({digest, path});
  return check_to_the_end(check);
}

TEST(Md5, AgreesWithMd5sumWhereverItIsCut) {
  const Folder folder;
  for (const std::size_t size : {0U, 1U, 55U, 56U, 63U, 64U, 65U, 128U, 1000U}) {
    const auto text = noise(size);
    folder.write("file", text);
    const auto theirs = shell(folder, "md5sum file").substr(0, 32);
    for (std::size_t cut = 0; cut <= size; ++cut) {
      Md5State first;
      first.update(std::as_bytes(std::span{text}.first(cut)));
      Md5State second{.words = first.words, .bytes = first.bytes, .block = first.block};
      second.update(std::as_bytes(std::span{text}.subspan(cut)));
      ASSERT_EQ(hex(second.digest()), theirs) << size << " cut at " << cut;
    }
  }
}

TEST(FileCheck, GoesOnFromEveryCheckpoint) {
  const Folder folder;
  const auto text = noise(4 * FileCheck::step_bytes_max + 77);
  folder.write("file", text);
  const Entry entry{digest_of(text), "file"};
  EXPECT_EQ(hex(entry.digest), shell(folder, "md5sum file").substr(0, 32));

  Checkpoint checkpoint;
  std::uint64_t read = 0;
  std::optional<Verdict> verdict;
  while (!verdict) {
    auto check = FileCheck::create(folder.path()).value();  // a new process each time
    check.begin(entry, checkpoint);
    verdict = check.step();
    checkpoint = check.checkpoint();
    read += check.bytes_read();
    ASSERT_LE(check.bytes_read(), FileCheck::step_bytes_max);
  }
  EXPECT_EQ(verdict, Verdict::ok);
  EXPECT_EQ(read, text.size());
}

TEST(FileCheck, BeginsAgainWhenTheFileHasChangedSinceTheCheckpoint) {
  const Folder folder;
  folder.write("file", noise(2 * FileCheck::step_bytes_max));
  auto check = FileCheck::create(folder.path()).value();
  check.begin({{}, "file"});
  EXPECT_FALSE(check.step());
  const auto old = check.checkpoint();

  const auto text = noise(2 * FileCheck::step_bytes_max + 1);
  folder.write("file", text);
  check.begin({digest_of(text), "file"}, old);
  EXPECT_EQ(check.checkpoint().offset, 0U);
  EXPECT_EQ(check_to_the_end(check), Verdict::ok);
}

TEST(FileCheck, BeginsAgainWhenTheCheckpointMakesNoSense) {
  const Folder folder;
  folder.write("file", "x");
  auto check = FileCheck::create(folder.path()).value();
  check.begin({digest_of("x"), "file"});
  auto wrong = check.checkpoint();
  wrong.offset = 1;
  check.begin({digest_of("x"), "file"}, wrong);
  EXPECT_EQ(check_to_the_end(check), Verdict::ok);
  wrong.offset = wrong.md5.bytes = ~std::uint64_t{0};
  check.begin({digest_of("x"), "file"}, wrong);
  EXPECT_EQ(check_to_the_end(check), Verdict::ok);
}

/// Of "file", which takes three steps; the first is done.
FileCheck begun_check(const Folder& folder) {
  const auto text = noise(3 * FileCheck::step_bytes_max);
  folder.write("file", text);
  auto check = FileCheck::create(folder.path()).value();
  check.begin({digest_of(text), "file"});
  EXPECT_FALSE(check.step());
  return check;
}

TEST(FileCheck, FindsAFileThatShrinksMeanwhileDiffering) {
  const Folder folder;
  auto check = begun_check(folder);
  fs::resize_file(folder / "file", 10);
  EXPECT_EQ(check_to_the_end(check), Verdict::differing);
  EXPECT_EQ(check.step(), Verdict::differing);
}

TEST(FileCheck, KeepsReadingAFileThatVanishesMeanwhile) {
  const Folder folder;
  auto check = begun_check(folder);
  fs::remove(folder / "file");
  EXPECT_EQ(check_to_the_end(check), Verdict::ok);
}

TEST(FileCheck, TellsMissingFromUnreadable) {
  const Folder folder;
  folder.write("file", "x");
  fs::create_directory(folder / "folder");
  fs::create_symlink("file", folder / "good link");
  fs::create_symlink("nowhere", folder / "dangling");
  fs::create_symlink("loop", folder / "loop");
  EXPECT_EQ(verdict_on(folder, "file", digest_of("x")), Verdict::ok);
  EXPECT_EQ(verdict_on(folder, "good link", digest_of("x")), Verdict::ok);
  EXPECT_EQ(verdict_on(folder, folder / "file", digest_of("x")), Verdict::ok);
  EXPECT_EQ(verdict_on(folder, "file", digest_of("y")), Verdict::differing);
  EXPECT_EQ(verdict_on(folder, "none"), Verdict::missing);
  EXPECT_EQ(verdict_on(folder, ""), Verdict::missing);
  EXPECT_EQ(verdict_on(folder, "dangling"), Verdict::missing);
  EXPECT_EQ(verdict_on(folder, "file/"), Verdict::missing);
  EXPECT_EQ(verdict_on(folder, "file/below"), Verdict::missing);
  EXPECT_EQ(verdict_on(folder, "loop"), Verdict::unreadable);
  EXPECT_EQ(verdict_on(folder, "folder"), Verdict::unreadable);
  ASSERT_EQ(::chmod(folder.write("secret", "x").c_str(), 0), 0);
  const auto read_by_root = ::geteuid() == 0 ? Verdict::ok : Verdict::unreadable;
  EXPECT_EQ(verdict_on(folder, "secret", digest_of("x")), read_by_root);
  EXPECT_EQ(verdict_on(folder, std::string(5000, 'n')), Verdict::unreadable);
}

TEST(FileCheck, NeverWaitsAtAFifoOrADevice) {
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(verdict_on(folder, "fifo"), Verdict::unreadable);
  EXPECT_EQ(verdict_on(folder, "/dev/null", digest_of("")), Verdict::unreadable);
  EXPECT_EQ(verdict_on(folder, "/dev/tty"), Verdict::unreadable);
}

TEST(FileCheck, NeedsAFolderAsRoot) {
  const Folder folder;
  EXPECT_EQ(FileCheck::create(folder.write("file", "x")).error().errnum, ENOTDIR);
  EXPECT_EQ(FileCheck::create(folder / "none").error().errnum, ENOENT);
}

// ── the judge ────────────────────────────────────────────────────────────────────────────────────────

std::vector<Verdict> our_verdicts(const Folder& folder, const std::string& list) {
  std::vector<Verdict> verdicts;
  for (const auto& item : read_all({list})) {
    if (const auto* entry = std::get_if<Entry>(&item))
      verdicts.push_back(verdict_on(folder, entry->path, entry->digest));
  }
  return verdicts;
}

troupe::Result<Judgement> judged(const Folder& folder, const std::string& list,
                                 const std::vector<Verdict>& ours, JudgeOptions options = {}) {
  options.root = folder.path();
  return judge(ManifestReader::open({list}).value(), options, [&](std::uint64_t index) {
    return index < ours.size() ? std::optional{ours[index]} : std::nullopt;
  });
}

TEST(Judge, AgreesWithUsOnTrickyLists) {
  const Folder folder;
  write_tricky_files(folder);
  folder.write("t", "y");
  for (const std::string end : {"\n", "\r\n"}) {
    const auto list =
        folder.write("list", joined(tricky_lines(), end) + joined({hex_of_x + "  t", hex_of_x + "  a"}, end));
    const auto ours = our_verdicts(folder, list);
    const auto judgement = judged(folder, list, ours).value();
    EXPECT_TRUE(judgement.agrees()) << judgement.disagreements.front().path;
    EXPECT_EQ(judgement.compared, ours.size());
    EXPECT_GT(judgement.took, 0ns);
  }
}

TEST(Judge, NamesEachDisagreementAndCountsAll) {
  const Folder folder;
  folder.write("a", "x");
  const auto list = folder.write("list", joined(std::vector<std::string>(30, hex_of_x + "  a")));
  std::vector<Verdict> ours(29, Verdict::ok);  // and one is lost
  for (std::size_t i = 1; i < ours.size(); ++i) ours[i] = Verdict::missing;
  const auto judgement = judged(folder, list, ours).value();
  EXPECT_EQ(judgement.compared, 30U);
  EXPECT_EQ(judgement.disagreeing, 29U);
  ASSERT_EQ(judgement.disagreements.size(), 20U);
  EXPECT_EQ(judgement.disagreements[0].index, 1U);
  EXPECT_EQ(judgement.disagreements[0].theirs, JudgeVerdict::ok);
  EXPECT_EQ(judgement.disagreements[0].ours, Verdict::missing);
}

TEST(Judge, CountsALostVerdictAsADisagreement) {
  const Folder folder;
  folder.write("a", "x");
  const auto judgement = judged(folder, folder.write("list", hex_of_x + "  a\n"), {}).value();
  EXPECT_EQ(judgement.disagreeing, 1U);
  EXPECT_FALSE(judgement.disagreements.front().ours);
}

TEST(Judge, DoesNotPutFifosAndDevicesToMd5sum) {
  const Folder folder;
  folder.write("a", "x");
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  for (const std::string separator : {" ", "  "}) {
    // The fifo's line is the one that settles the separator.
    const auto list = folder.write("list", joined({hex_of_x + separator + "fifo", hex_of_x + separator + "a",
                                                   hex_of_x + separator + "/dev/zero", hex_of_x + "  a"}));
    const auto ours = our_verdicts(folder, list);
    const auto judgement = judged(folder, list, ours, {.silent_within = 10s}).value();
    EXPECT_TRUE(judgement.agrees());
    EXPECT_EQ(judgement.not_judged, 2U);
    EXPECT_EQ(judgement.compared, 2U);
  }
}

TEST(Judge, TalksOverListsLongerThanAnyPipe) {
  const Folder folder;
  std::string text;
  const std::string deep = std::string(100, 'd') + "/" + std::string(100, 'e');
  for (int i = 0; i < 20'000; ++i)
    text.append(hex_of_x).append("  ").append(deep).append(std::to_string(i)).append("\n");
  const auto list = folder.write("list", text);
  const auto judgement = judged(folder, list, std::vector<Verdict>(20'000, Verdict::missing)).value();
  EXPECT_EQ(judgement.compared, 20'000U);
  EXPECT_TRUE(judgement.agrees());
}

TEST(Judge, AcceptsAListWithNothingInIt) {
  const Folder folder;
  EXPECT_EQ(judged(folder, folder.write("list", "# nothing\n"), {}).value().compared, 0U);
}

std::string program(const Folder& folder, const std::string& script) {
  auto file = folder.write("program", "#!/bin/sh\n" + script + "\n");
  EXPECT_EQ(::chmod(file.c_str(), 0700), 0);
  return file;
}

// No child is left, whatever came of it.
void expect_no_child() { EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1); }

TEST(Judge, SaysThatMd5sumIsNotThere) {
  const Folder folder;
  const auto list = folder.write("list", hex_of_x + "  a\n");
  const auto error = judged(folder, list, {}, {.program = "no-such-md5sum"}).error();
  EXPECT_TRUE(error.text.starts_with("cannot run no-such-md5sum -c: ")) << error.text;
  EXPECT_TRUE(error.text.ends_with("; try apt-get install coreutils")) << error.text;
  expect_no_child();
}

TEST(Judge, EndsWhenMd5sumSaysNothingForTooLong) {
  const Folder folder;
  const auto list = folder.write("list", hex_of_x + "  a\n");
  const auto error =
      judged(folder, list, {}, {.silent_within = 100ms, .program = program(folder, "exec sleep 1000")})
          .error();
  EXPECT_EQ(error.kind, troupe::ErrorKind::timed_out);
  EXPECT_NE(error.text.find("waiting for a"), std::string::npos);
  expect_no_child();
}

TEST(Judge, EndsWhenMd5sumDiesOrTalksNonsense) {
  const Folder folder;
  const auto list = folder.write("list", joined(std::vector<std::string>(100'000, hex_of_x + "  a")));
  const auto kind = [&](const std::string& script) {
    return judged(folder, list, {}, {.silent_within = 10s, .program = program(folder, script)}).error().kind;
  };
  EXPECT_EQ(kind("kill -9 $$"), troupe::ErrorKind::down);
  EXPECT_EQ(kind("exit 0"), troupe::ErrorKind::down);
  EXPECT_EQ(kind("echo 'b: OK'; exec sleep 1000"), troupe::ErrorKind::malformed);
  EXPECT_EQ(kind("echo 'a: PERHAPS'; exec sleep 1000"), troupe::ErrorKind::malformed);
  EXPECT_EQ(kind("exec tr '\\n' x < /dev/zero"), troupe::ErrorKind::malformed);
  expect_no_child();
}

// ── options ──────────────────────────────────────────────────────────────────────────────────────────

struct Parsed {
  std::variant<Options, ExitNow> result;
  std::string out;
  std::string err;
};

Parsed parsed(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "verify");
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (auto& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  std::ostringstream out;
  std::ostringstream err;
  auto result = parse(static_cast<int>(arguments.size()), pointers.data(), out, err);
  return {std::move(result), out.str(), err.str()};
}

TEST(Options, HaveDefaultsThatCheckThisMachine) {
  const auto options = std::get<Options>(parsed({}).result);
  EXPECT_EQ(options.workers, process_cpu_count());
  EXPECT_GE(options.workers, 1U);
  EXPECT_EQ(options.root, "/");
  EXPECT_FALSE(options.manifest);
  EXPECT_FALSE(options.json || options.quiet || options.against_md5sum || options.seed_given);
  EXPECT_NE(options.seed, std::get<Options>(parsed({}).result).seed);
}

TEST(Options, TakeAllThatTheHelpNames) {
  const Folder folder;
  const auto options =
      std::get<Options>(parsed({"--workers", "3", "--root=" + folder.path(), "--manifest", "-", "--chaos",
                                "2.5", "--deaths", "100", "--seconds-min", "15", "--against-md5sum", "--seed",
                                "18446744073709551615", "--json", "-q"})
                            .result);
  EXPECT_EQ(options.workers, 3U);
  EXPECT_EQ(options.root, folder.path());
  EXPECT_EQ(options.manifest, "-");
  EXPECT_EQ(options.chaos_per_second, 2.5);
  EXPECT_EQ(options.deaths, 100U);
  EXPECT_EQ(options.seconds_min, 15);
  EXPECT_EQ(options.seed, ~std::uint64_t{0});
  EXPECT_TRUE(options.against_md5sum && options.seed_given && options.json && options.quiet);
}

TEST(Options, SayWhatIsWrongWhyAndWhatToTry) {
  const Folder folder;
  const auto file = folder.write("file", "");
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--worker", "2"}, "verify: --worker: no such option, did you mean --workers?; try verify --help\n"},
      {{"--mainfest=x"},
       "verify: --mainfest=x: no such option, did you mean --manifest?; try verify --help\n"},
      {{"--frobnicate-all"}, "verify: --frobnicate-all: no such option; try verify --help\n"},
      {{"-x"}, "verify: -x: no such option; try verify --help\n"},
      {{"file"}, "verify: file: verify takes options only; try verify --help\n"},
      {{"--workers", "0"}, "verify: --workers 0: is too small; try a number from 1 to 1024\n"},
      {{"--workers", "-1"},
       "verify: --workers -1: is no number this option takes; try a number from 1 to 1024\n"},
      {{"--workers", "1025"}, "verify: --workers 1025: is too large; try a number from 1 to 1024\n"},
      {{"--workers", "99999999999999999999"},
       "verify: --workers 99999999999999999999: is too large; try a number from 1 to 1024\n"},
      {{"--workers", "2x"},
       "verify: --workers 2x: is no number this option takes; try a number from 1 to 1024\n"},
      {{"--workers="}, "verify: --workers: 1 required value missing; try verify --help\n"},
      {{"--chaos", "-0.5"}, "verify: --chaos -0.5: is too small; try deaths per second, 0 to 1000\n"},
      {{"--chaos", "nan"}, "verify: --chaos nan: is too small; try deaths per second, 0 to 1000\n"},
      {{"--chaos", "inf"}, "verify: --chaos inf: is too large; try deaths per second, 0 to 1000\n"},
      {{"--deaths", "-1"},
       "verify: --deaths -1: is no number this option takes; try a number from 0 to 1000000\n"},
      {{"--seconds-min", "soon"},
       "verify: --seconds-min soon: is no number this option takes; try seconds, 0 to 1000000\n"},
      {{"--seed", "x"}, "verify: --seed x: is no number this option takes; try a whole number\n"},
      {{"--root", file},
       "verify: --root " + file + ": is not a folder; try the folder that holds var/lib/dpkg/info\n"},
      {{"--root", folder / "none"},
       "verify: --root " + (folder / "none") + ": No such file or directory; try a folder that exists\n"},
      {{"--\x1b[31m"}, "verify: --\\x1b[31m: no such option; try verify --help\n"},
  };
  for (const auto& [arguments, message] : cases) {
    const auto said = parsed(arguments);
    ASSERT_TRUE(std::holds_alternative<ExitNow>(said.result)) << message;
    EXPECT_EQ(std::get<ExitNow>(said.result).code, 2) << message;
    EXPECT_EQ(said.err, message);
    EXPECT_EQ(said.out, "");
  }
}

TEST(Options, SayThatAValueIsMissing) {
  for (const std::string option : {"--workers", "--root", "--manifest", "--chaos"}) {
    const auto said = parsed({option});
    EXPECT_EQ(std::get<ExitNow>(said.result).code, 2);
    EXPECT_EQ(said.err, "verify: " + option + ": 1 required value missing; try verify --help\n");
  }
  EXPECT_EQ(std::get<ExitNow>(parsed({"--workers", "--json"}).result).code, 2);
  EXPECT_EQ(std::get<ExitNow>(parsed({"--json=yes please"}).result).code, 2);
  EXPECT_EQ(std::get<ExitNow>(parsed({"--workers", "1", "--workers", "2"}).result).code, 2);
}

TEST(Options, HelpFitsATerminalAndEndsWell) {
  for (const std::string flag : {"--help", "-h"}) {
    const auto said = parsed({flag});
    EXPECT_EQ(std::get<ExitNow>(said.result).code, 0);
    EXPECT_EQ(said.err, "");
    std::istringstream lines{said.out};
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
  }
}

// ── the view ─────────────────────────────────────────────────────────────────────────────────────────

Snapshot snapshot_of(std::size_t hashers) {
  Snapshot snapshot{.files_done = 80'600,
                    .files_total = 132'548,
                    .elapsed = 9s,
                    .files_per_second = 9'100,
                    .bytes_per_second = 410e6,
                    .redone = 14,
                    .deaths = 3,
                    .pass = 2};
  snapshot.rows.push_back({.role = "lister", .pid = 4700, .incarnation = 1, .done = 90'000});
  for (std::size_t i = 0; i < hashers; ++i) {
    snapshot.rows.push_back({.role = "hasher/" + std::to_string(i),
                             .pid = 4711 + static_cast<int>(i),
                             .incarnation = i + 1,
                             .in_hand = "usr/lib/a\nb\x1b[2J\xff\xc2\x9b\xe2\x80\xae/ünï/日本語/" +
                                        std::string(60, 'x') + "/end.so",
                             .done = 1'000 + i,
                             .is_hasher = true});
  }
  snapshot.rows.push_back(
      {.role = "collector", .pid = 4800, .incarnation = 2, .done = 80'600, .death = "SIGKILL"});
  return snapshot;
}

bool has_control_byte(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

TEST(View, IsNeverWiderThanTheTerminalAndHoldsNoControlByte) {
  for (const std::size_t hashers : {0U, 1U, 4U, 40U}) {
    for (std::size_t columns = 0; columns < 200; ++columns) {
      for (const auto& line : render(snapshot_of(hashers), columns, Colour::no)) {
        ASSERT_LE(columns_of(line), columns) << line;
        ASSERT_FALSE(has_control_byte(line)) << testing::PrintToString(line);
        ASSERT_EQ(printable(line), line);
      }
    }
  }
}

TEST(View, ColoursAddNothingButTheirSequences) {
  auto snapshot = snapshot_of(2);
  snapshot.rows[1].just_died = true;
  snapshot.rows[1].death = "SIGSEGV\x1b[2J";
  const auto coloured = render(snapshot, 80, Colour::yes);
  const auto bare = render(snapshot, 80, Colour::no);
  ASSERT_EQ(coloured.size(), bare.size());
  for (std::size_t i = 0; i < bare.size(); ++i) {
    auto line = coloured[i];
    for (const std::string sequence : {"\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"}) {
      for (auto at = line.find(sequence); at != std::string::npos; at = line.find(sequence))
        line.erase(at, sequence.size());
    }
    EXPECT_EQ(line, bare[i]);
  }
  EXPECT_NE(coloured, bare);
}

TEST(View, ShowsALineAProcessThenTheBarAndWhatToTry) {
  const auto lines = render(snapshot_of(2), 110, Colour::no);
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0], "lister     pid 4700     incarnation 1    90,000 done    ");
  EXPECT_TRUE(lines[1].starts_with("hasher/0   pid 4711     incarnation 1    1,000 done     ..."))
      << lines[1];
  EXPECT_TRUE(lines[1].ends_with("xxx/end.so")) << lines[1];
  EXPECT_TRUE(lines[3].ends_with("(last death: SIGKILL)")) << lines[3];
  EXPECT_EQ(lines[4],
            "[##################------------]  60 %  9,100 files/s  410 MB/s  eta 0:06  redone 14  deaths 3  "
            "pass 2");
  EXPECT_EQ(lines[5], "try: kill -9 4711");
}

TEST(View, StaysSmallWithManyHashersAndShowsTheBusiest) {
  auto snapshot = snapshot_of(40);
  snapshot.rows[5].just_died = true;
  snapshot.rows[5].death = "killed by SIGKILL";
  const auto lines = render(snapshot, 80, Colour::no);
  ASSERT_EQ(lines.size(), 8U);
  EXPECT_TRUE(lines[0].starts_with("lister"));
  EXPECT_TRUE(lines[1].starts_with("hasher/4 ")) << lines[1];
  EXPECT_TRUE(lines[1].ends_with("died: killed by SIGKILL")) << lines[1];
  EXPECT_TRUE(lines[2].starts_with("hasher/38 "));
  EXPECT_TRUE(lines[3].starts_with("hasher/39 "));
  EXPECT_TRUE(lines[4].starts_with("collector"));
  EXPECT_EQ(lines[5], "... and 37 more hashers");
  EXPECT_EQ(lines[7], "try: kill -9 4749") << "not the one that has just died";
}

TEST(View, KnowsNoEndBeforeTheListHasEnded) {
  auto snapshot = snapshot_of(1);
  snapshot.files_total.reset();
  snapshot.pass = 1;
  EXPECT_EQ(plain_line(snapshot), "  ? %  80,600 files  9,100 files/s  410 MB/s  eta ?  redone 14  deaths 3");
  EXPECT_EQ(plain_line({.files_done = 0, .files_total = 0}),
            "100 %  0/0 files  0 files/s  0 MB/s  eta ?  redone 0  deaths 0");
}

TEST(View, MakesTextSafeForATerminal) {
  EXPECT_EQ(printable("usr/share/ünï/日本語"), "usr/share/ünï/日本語");
  EXPECT_EQ(printable("a\nb\x1b[2J\x7f"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(printable("\xff\xc3(\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80"),
            "\\xff\\xc3(\\xc0\\x80\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(printable("\xc2\x9b\xe2\x80\xae\xe2\x80\x8b"), "\\xc2\\x9b\\xe2\\x80\\xae\\xe2\\x80\\x8b");
  EXPECT_EQ(printable("cut \xe6\x97"), "cut \\xe6\\x97");
}

TEST(View, WritesNumbersAndSizesForPeople) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(132'548), "132,548");
  EXPECT_EQ(grouped(1'234'567), "1,234,567");
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1'000), "1.0 kB");
  EXPECT_EQ(bytes_text(999'999), "1.0 MB");
  EXPECT_EQ(bytes_text(6.04e9), "6.0 GB");
  EXPECT_EQ(bytes_text(123.4e9), "123 GB");
}

// What a view writes to a file, which is no terminal.
std::string drawn(ViewMode mode, const std::vector<Snapshot>& snapshots) {
  const Folder folder;
  const troupe::OwnedFd file{::open((folder / "out").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)};
  {
    TerminalView view{file.get(), mode, Colour::no};
    for (const auto& snapshot : snapshots) view.draw(snapshot);
  }
  return contents(folder / "out");
}

TEST(TerminalView, PrintsALineEveryFewSecondsWhereItCannotDraw) {
  std::vector<Snapshot> snapshots;
  for (int tenth = 0; tenth < 100; ++tenth) {
    snapshots.push_back(snapshot_of(1));
    snapshots.back().elapsed = tenth * 100ms;
  }
  const auto line = plain_line(snapshots[0]) + "\n";
  EXPECT_EQ(drawn(ViewMode::lines, snapshots), line + line + line);
  EXPECT_EQ(drawn(ViewMode::silent, snapshots), "");
}

TEST(TerminalView, DrawsInPlaceAndWipesAtTheEnd) {
  const auto out = drawn(ViewMode::live, {snapshot_of(1), snapshot_of(1)});
  std::string frame;
  for (const auto& line : render(snapshot_of(1), 79, Colour::no)) frame += line + "\x1b[K\n";
  EXPECT_EQ(out, frame + "\x1b[J" + "\r\x1b[5A" + frame + "\x1b[J" + "\r\x1b[5A" + "\x1b[J");
}

TEST(TerminalView, DrawsOnlyOnATerminalThatCan) {
  const Folder folder;
  const troupe::OwnedFd file{::open(folder.write("out", "").c_str(), O_WRONLY | O_CLOEXEC)};
  const troupe::OwnedFd terminal{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
  ::setenv("TERM", "xterm", 1);
  EXPECT_EQ(view_mode(file.get(), false), ViewMode::lines);
  EXPECT_EQ(view_mode(file.get(), true), ViewMode::silent);
  if (terminal) {  // a root without /dev/pts has none
    EXPECT_EQ(view_mode(terminal.get(), false), ViewMode::live);
    EXPECT_EQ(view_mode(terminal.get(), true), ViewMode::silent);
    ::setenv("TERM", "dumb", 1);
    EXPECT_EQ(view_mode(terminal.get(), false), ViewMode::lines);
    ::unsetenv("TERM");
    EXPECT_EQ(view_mode(terminal.get(), false), ViewMode::lines);
  }
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_EQ(view_colour(), Colour::no);
  ::setenv("NO_COLOR", "", 1);
  EXPECT_EQ(view_colour(), Colour::yes);
  ::unsetenv("NO_COLOR");
}

// ── the report ───────────────────────────────────────────────────────────────────────────────────────

Outcome good_outcome() {
  return {.files = 132'548, .ok = 132'548, .verdicts = 132'548, .bytes = 6'040'000'000, .seconds = 15.24};
}

TEST(Report, ExitCodeTellsMatchedFromFailedFromNotMatched) {
  EXPECT_EQ(exit_code(good_outcome()), 0);
  const auto with = [](auto change) {
    auto outcome = good_outcome();
    change(outcome);
    return exit_code(outcome);
  };
  EXPECT_EQ(with([](Outcome& o) { o.differing = {"a"}; }), 3);
  EXPECT_EQ(with([](Outcome& o) { o.missing = {"a"}; }), 3);
  EXPECT_EQ(with([](Outcome& o) { o.unreadable = {"a"}; }), 3);
  EXPECT_EQ(with([](Outcome& o) { o.malformed = {{"list", 3}}; }), 3);
  EXPECT_EQ(with([](Outcome& o) { o.lost = 1; }), 1);
  EXPECT_EQ(with([](Outcome& o) { o.counted_twice = 1; }), 1);
  EXPECT_EQ(with([](Outcome& o) { o.failure = "x: y; try z"; }), 1);
  EXPECT_EQ(with([](Outcome& o) { o.files = 0; }), 1);
  EXPECT_EQ(with([](Outcome& o) { o.deaths.resize(100); }), 0);
  EXPECT_EQ(with([](Outcome& o) { o.judgement = {.disagreeing = 1}; }), 3);
  EXPECT_EQ(with([](Outcome& o) { o.differing = {"a"}, o.judgement = Judgement{}; }), 0);
  EXPECT_EQ(with([](Outcome& o) { o.lost = 1, o.judgement = Judgement{}; }), 1);
}

TEST(Report, HeadlineSaysWhetherMd5sumAgrees) {
  auto outcome = good_outcome();
  EXPECT_EQ(headline(outcome), "132,548 verdicts, 0 deaths, 0 lost");
  outcome.deaths.resize(100);
  outcome.judgement = {.compared = 132'548, .took = 8'740ms};
  EXPECT_EQ(headline(outcome),
            "132,548 verdicts, 100 deaths, 0 lost; md5sum -c agrees on every one (8.7 s alone, 15.2 s here)");
  outcome.judgement->disagreeing = 2;
  outcome.passes = 3;
  EXPECT_EQ(
      headline(outcome),
      "132,548 verdicts, 100 deaths, 0 lost; md5sum -c disagrees on 2 of 132,548 (8.7 s alone, 5.1 s a pass "
      "here)");
  outcome.failure = "x: y; try z";
  EXPECT_EQ(headline(outcome), "the job failed: x: y; try z");
}

TEST(Report, CardNamesDeathsAndDifferingPaths) {
  auto outcome = good_outcome();
  outcome.ok -= 2;
  outcome.differing = {"etc/a\x1b[2J", "etc/b"};
  outcome.malformed = {{"list", 7}};
  outcome.redone = 4;
  outcome.dropped_duplicates = 3;
  outcome.deaths = {{"hasher/0", 4711, "SIGKILL", DeathKind::killed},
                    {"lister", 4712, "no pulse", DeathKind::hung}};
  EXPECT_EQ(card(outcome),
            "132,548 verdicts, 2 deaths, 0 lost\n"
            "\n"
            "132,548 files, 6.0 GB, 15.2 s\n"
            "ok 132,546, differing 2, missing 0, unreadable 0\n"
            "actors killed 1, hung 1, crashed 0\n"
            "lost 0, counted twice 0, redone 4 (duplicates dropped 3)\n"
            "deaths\n"
            "  hasher/0 pid 4711: SIGKILL\n"
            "  lister pid 4712: no pulse\n"
            "malformed lines: not in md5sum's format; try to write the list anew with md5sum\n"
            "  list:7\n"
            "differing\n"
            "  etc/a\\x1b[2J\n"
            "  etc/b\n");
}

TEST(Report, CardGroupsManyDeathsAndCutsLongLists) {
  auto outcome = good_outcome();
  for (int i = 0; i < 30; ++i)
    outcome.deaths.push_back({"hasher/" + std::to_string(i % 4), 4711 + i, "SIGKILL"});
  outcome.deaths.push_back({"collector", 1, "SIGSEGV", DeathKind::crashed});
  for (int i = 0; i < 25; ++i) outcome.differing.push_back("p" + std::to_string(i));
  const auto text = card(outcome);
  EXPECT_NE(text.find("deaths\n  1 x collector: SIGSEGV\n  30 x hasher: SIGKILL\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("  p19\n  ... and 5 more\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("p20"), std::string::npos);
}

TEST(Report, CardNamesWhereMd5sumDisagrees) {
  auto outcome = good_outcome();
  outcome.judgement = Judgement{.compared = 3, .not_judged = 2, .disagreeing = 2};
  outcome.judgement->disagreements = {{0, "a", Verdict::ok, JudgeVerdict::failed},
                                      {1, "b", {}, JudgeVerdict::ok}};
  const auto text = card(outcome);
  EXPECT_NE(text.find("  a: ok here, FAILED there\n  b: lost here, OK there\n"), std::string::npos) << text;
  EXPECT_NE(text.find("could wait for ever: 2 (fifos, devices)"), std::string::npos) << text;
}

TEST(Report, JsonIsOneObjectThatKeepsEveryByteOfAPath) {
  Outcome outcome{.files = 3, .bytes = 12, .seconds = 1.5, .redone = 2, .dropped_duplicates = 1};
  outcome.differing = {"a\"b\\c\n\x1b\x7f", "ü\xff\xc3("};
  outcome.missing = {"m"};
  outcome.deaths = {{"hasher/0", 4711, "SIGKILL"}, {"lister", 1, "x\ty"}};
  EXPECT_EQ(
      json(outcome),
      R"({"files":3, "bytes":12, "seconds":1.500, "ok":0, )"
      R"("differing":["a\"b\\c\u000a\u001b\u007f", "ü\udcff\udcc3("], "missing":["m"], "unreadable":[], )"
      R"("lost":0, "double":0, "redone":2, "dropped_duplicates":1, )"
      R"("deaths":[{"role":"hasher/0", "pid":4711, "reason":"SIGKILL"}, )"
      R"({"role":"lister", "pid":1, "reason":"x\u0009y"}]})"
      "\n");
  outcome.seconds = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(json(outcome).find("\"seconds\":0.000"), std::string::npos);
}

}  // namespace
