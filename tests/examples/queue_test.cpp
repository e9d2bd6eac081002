// SPDX-License-Identifier: MIT
// The example of a queue, as a person runs it: over each carrier it prints what its page says.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "program.hpp"

namespace troupe::test {
namespace {

/// The first block ```text of the example's page.
std::string promised() {
  std::ifstream file{std::filesystem::path{TROUPE_PROJECT_DIR} / "examples/03_queue/README.md"};
  const std::string page{std::istreambuf_iterator<char>{file}, {}};
  const auto begin = page.find("```text\n") + 8;
  return page.substr(begin, page.find("```", begin) - begin);
}

class QueueExample : public ::testing::TestWithParam<const char*> {};

TEST_P(QueueExample, PrintsTheSameOverEveryCarrier) {
  Program program{TROUPE_EXAMPLES_DIR "/queue", {"--over", GetParam()}};
  EXPECT_EQ(program.rest(), promised());
  EXPECT_EQ(program.wait(), 0);
}

INSTANTIATE_TEST_SUITE_P(Examples, QueueExample, ::testing::Values("shm", "ipc", "tcp"),
                         [](const auto& carrier) { return std::string{carrier.param}; });

TEST(QueueExampleUsage, SaysWhatToTry) {
  Program program{TROUPE_EXAMPLES_DIR "/queue", {"--over", "pigeon"}};
  EXPECT_NE(program.rest().find("try: queue --over shm"), std::string::npos);
  EXPECT_EQ(program.wait(), 2 << 8);
}

}  // namespace
}  // namespace troupe::test
