// SPDX-License-Identifier: MIT
// verify as somebody types it: wrong words, broken lists, strange files, pipes that are slow or not there.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <memory>
#include <thread>

#include "transport/nothing_left.hpp"
#include "verify_run.hpp"
#include "verify_tree.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;
using Words = std::vector<std::string>;

constexpr auto ends_within = 10s;
const std::string digest_of_empty = "d41d8cd98f00b204e9800998ecf8427e";

/// Fails unless every process of the run is gone soon after it.
Ended ended(VerifyRun& run) {
  SCOPED_TRACE(run.text());
  auto end = run.wait();
  EXPECT_FALSE(end.hung) << end.state;
  EXPECT_TRUE(run.all_gone(ends_within)) << run.describe();
  return end;
}
Ended ended(Words words) {
  VerifyRun run{{.arguments = std::move(words)}};
  return ended(run);
}

/// What is wrong, why, and what to try: in one line.
void expect_one_error(const std::string& error) {
  EXPECT_TRUE(error.starts_with("verify: ")) << error;
  EXPECT_NE(error.find(": ", 8), std::string::npos) << error;
  EXPECT_NE(error.find("; try "), std::string::npos) << error;
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A pipe whose writing end a thread fills.
class SlowWriter {
 public:
  /// Writes the pieces with a pause after each, then closes.
  SlowWriter(std::vector<std::string> pieces, std::chrono::milliseconds pause) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
      throw std::system_error{errno, std::generic_category(), "pipe2"};
    reading_ = OwnedFd{ends[0]};
    thread_ = std::thread{[pieces = std::move(pieces), pause, end = std::make_shared<OwnedFd>(ends[1])] {
      for (const auto& piece : pieces) {
        if (::write(end->get(), piece.data(), piece.size()) < 0) return;
        ::poll(nullptr, 0, static_cast<int>(pause.count()));
      }
    }};
  }
  SlowWriter(const SlowWriter&) = delete;
  SlowWriter& operator=(const SlowWriter&) = delete;
  ~SlowWriter() { thread_.join(); }
  [[nodiscard]] int reading_end() const { return reading_.get(); }

 private:
  OwnedFd reading_{};
  std::thread thread_{};
};

class VerifyCommandLine : public NothingLeft {
 protected:
  std::string write(const std::string& name, std::string_view text) const {
    std::ofstream{folder_ / name, std::ios::binary} << text;
    return folder_ / name;
  }
  [[nodiscard]] const TemporaryFolder& folder() const { return folder_; }

  /// A list with these lines, checked in the folder.
  [[nodiscard]] Ended checked(const std::string& lines, const Words& more = {}) const {
    Words words{"--manifest", write("list", lines), "--root", folder_.path()};
    words.insert(words.end(), more.begin(), more.end());
    return ended(words);
  }

 private:
  TemporaryFolder folder_{};
};

// ---- wrong words -----------------------------------------------------------------------------------

TEST_F(VerifyCommandLine, AUsageErrorIsOneLineAndTwo) {
  const std::string file = write("file", "");
  for (const Words& words : std::vector<Words>{{"--bogus"},
                                               {"file"},
                                               {"--workers"},
                                               {"--workers", "0"},
                                               {"--workers", "-1"},
                                               {"--workers", "two"},
                                               {"--workers", "2", "--workers", "3"},
                                               {"--chaos", "-1"},
                                               {"--chaos", "nan"},
                                               {"--deaths", "1.5"},
                                               {"--seed", ""},
                                               {"--seconds-min", "1s"},
                                               {"--root", file},
                                               {"--root", folder() / "nowhere"},
                                               {"--json=1"}}) {
    const auto end = ended(words);
    SCOPED_TRACE(words.back());
    EXPECT_EQ(end.code, 2);
    EXPECT_EQ(end.out, "");
    expect_one_error(end.error);
  }
}

TEST_F(VerifyCommandLine, HelpIsNoError) {
  for (const Words& words : {Words{"--help"}, Words{"-h"}, Words{"--bogus", "--help"}}) {
    const auto end = ended(words);
    EXPECT_EQ(end.code, 0);
    EXPECT_EQ(end.error, "");
    for (const char* const option :
         {"--workers", "--root", "--manifest", "--chaos", "--deaths", "--seconds-min", "--against-md5sum",
          "--seed", "--json", "--quiet", "--help"})
      EXPECT_TRUE(contains(end.out, option)) << option;
  }
}

// ---- lists that are none ---------------------------------------------------------------------------

TEST_F(VerifyCommandLine, AListThatCannotBeReadFailsTheJob) {
  ::mkfifo((folder() / "fifo").c_str(), 0600);
  const std::vector<Words> all{{"--manifest", folder() / "nowhere"},
                               {"--manifest", folder().path()},
                               {"--manifest", folder() / "fifo"},
                               {"--manifest", "/dev/null"},
                               {"--root", folder().path()}};  // no dpkg here
  for (Words words : all) {
    SCOPED_TRACE(words.back());
    const auto end = ended(words);
    EXPECT_EQ(end.code, 1);
    expect_one_error(end.error);
    words.emplace_back("--json");
    const auto with_json = ended(words);
    EXPECT_EQ(with_json.code, 1);
    expect_one_error(with_json.error);
    EXPECT_EQ(Answer::read(with_json.out).files, 0);
  }
}

TEST_F(VerifyCommandLine, AnEmptyListFailsTheJob) {
  for (const std::string lines : {"", "\n", "# nothing but this\n"}) {
    const auto end = checked(lines);
    EXPECT_EQ(end.code, 1);
    expect_one_error(end.error);
  }
  const auto fed = ended({"--manifest", "-", "--json"});
  EXPECT_EQ(fed.code, 1);
  expect_one_error(fed.error);
}

TEST_F(VerifyCommandLine, AMalformedLineIsToldByItsNumberAndEverythingElseIsChecked) {
  write("good", "");
  const std::string lines = digest_of_empty + "  good\nno such line\n" + digest_of_empty + "  good\n" +
                            digest_of_empty.substr(1) + "  good\n";
  const auto end = checked(lines);
  EXPECT_EQ(end.code, 3);
  EXPECT_TRUE(contains(end.out, "ok 2, differing 0, missing 0, unreadable 0")) << end.out;
  EXPECT_TRUE(contains(end.out, "list:2\n")) << end.out;
  EXPECT_TRUE(contains(end.out, "list:4\n")) << end.out;
  EXPECT_TRUE(contains(end.out, "; try ")) << end.out;

  const auto with_json = checked(lines, {"--json"});
  EXPECT_EQ(with_json.code, 3);
  EXPECT_EQ(Answer::read(with_json.out).ok, 2);
  EXPECT_TRUE(contains(with_json.error, "list:2")) << with_json.error;
  EXPECT_TRUE(contains(with_json.error, "list:4")) << with_json.error;
}

TEST_F(VerifyCommandLine, AListOfMalformedLinesAloneFails) {
  const auto end = checked("one\ntwo\n");
  EXPECT_EQ(end.code, 1);
  EXPECT_TRUE(contains(end.out, "list:1\n")) << end.out;
  EXPECT_TRUE(contains(end.out, "list:2\n")) << end.out;
}

// ---- files that are none ---------------------------------------------------------------------------

TEST_F(VerifyCommandLine, AFolderAFifoAndADanglingLinkAreVerdicts) {
  ::mkfifo((folder() / "fifo").c_str(), 0600);
  std::filesystem::create_directory(folder() / "folder");
  std::filesystem::create_symlink("nowhere", folder() / "dangling");
  write("good", "");
  std::string lines;
  for (const char* const name : {"fifo", "folder", "dangling", "good"})
    lines += digest_of_empty + "  " + name + "\n";
  const auto end = checked(lines, {"--json"});
  EXPECT_EQ(end.code, 3);
  EXPECT_EQ(end.error, "");
  const auto answer = Answer::read(end.out);
  EXPECT_EQ(answer.unreadable, (Paths{"fifo", "folder"}));
  EXPECT_EQ(answer.missing, Paths{"dangling"});
  EXPECT_EQ(answer.ok, 1);
  EXPECT_EQ(checked(lines, {"--against-md5sum"}).code, 0);
}

TEST_F(VerifyCommandLine, EverythingThatMatchesIsZero) {
  write("good", "");
  const auto end = checked(digest_of_empty + "  good\n");
  EXPECT_EQ(end.code, 0);
  EXPECT_EQ(end.error, "");
}

TEST_F(VerifyCommandLine, AFileMayVanishDuringTheRun) {
  std::string lines;
  for (int i = 0; i < 2000; ++i) {
    lines += digest_of_empty + "  " + std::to_string(i) + "\n";
    write(std::to_string(i), "");
  }
  VerifyRun run{{.arguments = {"--manifest", write("list", lines), "--root", folder().path(), "--seconds-min",
                               "2", "--json"}}};
  for (const auto deadline = deadline_in(ends_within); Clock::now() < deadline; run.look(deadline_in(5ms)))
    if (!run.processes("hasher/0").empty()) break;
  for (int i = 0; i < 2000; i += 2) std::filesystem::remove(folder() / std::to_string(i));
  const auto end = ended(run);
  EXPECT_EQ(end.code, 3) << end.error;
  const auto answer = Answer::read(end.out);
  EXPECT_EQ(answer.files, 2000);
  EXPECT_EQ(answer.ok, 1000);
  EXPECT_EQ(answer.missing.size(), 1000);
  EXPECT_EQ(answer.lost + answer.doubled, 0);
}

// ---- standard input --------------------------------------------------------------------------------

class VerifyFedByAPipe : public NothingLeft {
 protected:
  static void SetUpTestSuite() { shared_tree = std::make_unique<Tree>(4'000); }
  static void TearDownTestSuite() { shared_tree.reset(); }
  static const Tree& tree() { return *shared_tree; }

  /// The list in pieces that end in mid-line.
  static std::vector<std::string> pieces() {
    const auto list = content(tree().list());
    std::vector<std::string> all;
    for (std::size_t at = 0; at < list.size(); at += 5'000) all.push_back(list.substr(at, 5'000));
    return all;
  }
  static Ended fed(const Words& more) {
    const SlowWriter writer{pieces(), 10ms};
    Words words{"--manifest", "-", "--root", tree().root()};
    words.insert(words.end(), more.begin(), more.end());
    VerifyRun run{
        {.arguments = words, .environment = {"TMPDIR=" + tree().spare()}, .input = writer.reading_end()}};
    auto end = ended(run);
    EXPECT_TRUE(std::filesystem::is_empty(tree().spare()));
    return end;
  }
  static void expect_right(const Ended& end) {
    EXPECT_EQ(end.code, 3) << end.error;
    expect_truth(Answer::read(end.out), tree().truth());
  }

 private:
  static inline std::unique_ptr<Tree> shared_tree{};
};

TEST_F(VerifyFedByAPipe, ChecksAListThatComesSlowly) { expect_right(fed({"--json"})); }

TEST_F(VerifyFedByAPipe, ReadsItsCopyOfTheListInLaterPasses) {
  const auto end = fed({"--json", "--seconds-min", "2"});
  expect_right(end);
  EXPECT_GT(Answer::read(end.out).bytes, tree().truth().bytes) << "there was no second pass";
}

TEST_F(VerifyFedByAPipe, GivesMd5sumTheSameList) {
  const auto end = fed({"--against-md5sum"});
  EXPECT_EQ(end.code, 0) << end.error;
  EXPECT_TRUE(contains(end.out, "md5sum -c agrees on every one (")) << end.out;
}

TEST_F(VerifyFedByAPipe, LosesNothingWhenActorsDieMeanwhile) {
  const auto end = fed({"--json", "--chaos", "30", "--seed", "5", "--seconds-min", "2"});
  expect_right(end);
  EXPECT_GE(Answer::read(end.out).deaths.size(), 1);
}

// ---- what it says, and where -----------------------------------------------------------------------

class VerifyOutput : public VerifyCommandLine {
 protected:
  /// A list that takes long enough for the plain line every few seconds.
  [[nodiscard]] Command long_run(const Words& more) const {
    write("good", "");
    Words words{"--manifest",    write("list", digest_of_empty + "  good\n"),
                "--root",        folder().path(),
                "--seconds-min", "4"};
    words.insert(words.end(), more.begin(), more.end());
    return {.arguments = std::move(words)};
  }
};

TEST_F(VerifyOutput, APipeGetsPlainLinesWithoutEscapeSequences) {
  VerifyRun run{long_run({"--deaths", "5", "--seed", "1"})};
  const auto end = ended(run);
  EXPECT_EQ(end.code, 0) << end.error;
  EXPECT_FALSE(contains(end.out + end.error, "\x1b")) << end.out;
  EXPECT_FALSE(contains(end.out, "\r")) << end.out;
  EXPECT_TRUE(contains(end.out, "lost 0, counted twice 0")) << end.out;
}

TEST_F(VerifyOutput, JsonIsOneObjectAndNothingElse) {
  VerifyRun run{long_run({"--json", "--deaths", "5", "--seed", "1"})};
  const auto end = ended(run);
  EXPECT_EQ(end.code, 0) << end.error;
  EXPECT_FALSE(contains(end.error, "\x1b")) << end.error;
  const auto answer = Answer::read(end.out);
  EXPECT_EQ(answer.files, 1);
  EXPECT_GE(answer.deaths.size(), 5);
}

TEST_F(VerifyOutput, QuietShowsTheEndCardAlone) {
  VerifyRun run{long_run({"--quiet"})};
  const auto end = ended(run);
  EXPECT_EQ(end.code, 0);
  EXPECT_EQ(end.error, "");
  EXPECT_TRUE(contains(end.out.substr(0, end.out.find('\n')), " verdicts, 0 deaths, 0 lost")) << end.out;
}

TEST_F(VerifyOutput, ADifferentPathIsShownWithoutItsControlCharacters) {
  write("\x1b[31m\xff", "x");
  const auto end = checked(digest_of_empty + "  \x1b[31m\xff\n");
  EXPECT_EQ(end.code, 3);
  EXPECT_FALSE(contains(end.out, "\x1b")) << end.out;
  EXPECT_TRUE(contains(end.out, "\\x1b[31m\\xff")) << end.out;
  EXPECT_EQ(Answer::read(checked(digest_of_empty + "  \x1b[31m\xff\n", {"--json"}).out).differing,
            Paths{"\x1b[31m\xff"});
}

TEST_F(VerifyOutput, AnAnswerThatNobodyCanReadFailsTheJob) {
  write("good", "");
  const Words words{"--manifest", write("list", digest_of_empty + "  good\n"), "--root", folder().path(),
                    "--json"};
  VerifyRun run{{.arguments = words, .closed_output = true}};
  const auto end = ended(run);
  EXPECT_EQ(end.code, 1);
  expect_one_error(end.error);
}

}  // namespace
}  // namespace troupe::test
