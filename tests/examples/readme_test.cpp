// SPDX-License-Identifier: MIT
// What the README and the pages beside it show must be so: the program compiles, the links lead somewhere.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "program.hpp"

namespace troupe::test {
namespace {

namespace fs = std::filesystem;

fs::path project() { return TROUPE_PROJECT_DIR; }

std::string read(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// The inside of the first block that begins with ```<language>.
std::string first_block(const std::string& text, const std::string& language) {
  const std::string opening = "```" + language + "\n";
  const auto begin = text.find(opening);
  if (begin == std::string::npos) return {};
  const auto inside = begin + opening.size();
  return text.substr(inside, text.find("```", inside) - inside);
}

/// A program without its comments and its layout: the README's is set closer than the formatter sets a
/// source.
std::string bare(const std::string& source) {
  std::string text = std::regex_replace(source, std::regex{"//[^\n]*"}, "");
  std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
  return text;
}

std::vector<fs::path> pages() {
  std::vector<fs::path> all{project() / "README.md", project() / "CHANGELOG.md"};
  for (const auto& folder : {project() / "docs", project() / "examples"})
    for (const auto& entry : fs::recursive_directory_iterator{folder})
      if (entry.path().extension() == ".md") all.push_back(entry.path());
  return all;
}

TEST(Readme, ShowsTheCounterAsItIsCompiled) {
  const std::string shown = first_block(read(project() / "README.md"), "cpp");
  ASSERT_FALSE(shown.empty());
  EXPECT_EQ(bare(shown), bare(read(project() / "examples/02_counter/counter.cpp")));
}

void expect_promised(const std::string& program, const fs::path& page) {
  Program run{TROUPE_EXAMPLES_DIR "/" + program};
  EXPECT_EQ(run.rest(), first_block(read(project() / page), "text"));
  EXPECT_EQ(run.wait(), 0);
}

TEST(Readme, CounterPrintsWhatThePageOfTheExampleSays) {
  expect_promised("counter", "examples/02_counter/README.md");
}

TEST(Readme, AsioPrintsWhatThePageOfTheExampleSays) {
  if (!fs::exists(TROUPE_EXAMPLES_DIR "/asio")) GTEST_SKIP() << "built without libasio-dev";
  expect_promised("asio", "examples/05_asio/README.md");
}

TEST(Readme, SubprocessPrintsWhatThePageOfTheExampleSays) {
  expect_promised("subprocess", "examples/07_subprocess/README.md");
}

TEST(Readme, LinksLeadToFilesOfTheProject) {
  const std::regex link{R"(\]\(([^)#\s]+)[^)]*\))"};
  for (const fs::path& page : pages()) {
    const std::string text = read(page);
    for (std::sregex_iterator at{text.begin(), text.end(), link}, end; at != end; ++at) {
      const std::string target = (*at)[1];
      if (target.find("://") != std::string::npos) continue;
      EXPECT_TRUE(fs::exists(page.parent_path() / target)) << page << " leads to " << target;
    }
  }
}

}  // namespace
}  // namespace troupe::test
