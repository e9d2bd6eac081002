// SPDX-License-Identifier: MIT
// Programs in other languages, as a person runs them: what they print is what the page of the example says.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "program.hpp"

namespace troupe::test {
namespace {

namespace fs = std::filesystem;

fs::path project() { return TROUPE_PROJECT_DIR; }
fs::path folder() { return project() / "examples/06_foreign"; }

/// The first or second block ```text of the page: what a client prints, and the server behind its address.
struct Promised {
  std::string client{};
  std::string server{};
};
Promised promised() {
  std::ifstream file{folder() / "README.md"};
  const std::string page{std::istreambuf_iterator<char>{file}, {}};
  auto block = [&page, at = std::size_t{0}]() mutable {
    const auto begin = page.find("```text\n", at) + 8;
    at = page.find("```", begin);
    return page.substr(begin, at - begin);
  };
  Promised said;
  said.client = block();
  said.server = block();
  return said;
}

class ForeignExample : public ::testing::Test {
 protected:
  void expect_promised(std::vector<std::string> command) {
    const auto address = server.line();
    ASSERT_TRUE(address);
    command.push_back(*address);
    if (command.size() == 3 && encoding != "json") command.push_back(encoding);
    const std::string path = command.front();
    Program client{path, {command.begin() + 1, command.end()}};
    const Promised all = promised();
    ASSERT_FALSE(all.server.empty());
    EXPECT_EQ(client.rest(), all.client);
    EXPECT_EQ(client.wait(), 0);
    std::istringstream lines{all.server};
    for (std::string line; std::getline(lines, line);) EXPECT_EQ(server.line(), line);
  }

  std::string encoding = "json";
  Program server{TROUPE_EXAMPLES_DIR "/foreign", {"tcp://127.0.0.1:*"}};
};

TEST_F(ForeignExample, APythonProgramTalksToAnActorAndAQueueInJson) {
  expect_promised({"/usr/bin/python3", folder() / "client.py"});
}

TEST_F(ForeignExample, APythonProgramTalksToAnActorAndAQueueInMsgpack) {
  encoding = "msgpack";
  expect_promised({"/usr/bin/python3", folder() / "client.py"});
}

TEST_F(ForeignExample, ANodeProgramTalksToAnActorAndAQueue) {
  const std::string modules = TROUPE_EXAMPLES_DIR "/06_foreign.node";
  Program install{"/bin/sh", {project() / "scripts/node-modules", folder(), modules}};
  ASSERT_EQ(install.wait(std::chrono::minutes{1}), 0) << install.rest();
  ::setenv("NODE_PATH", (modules + "/node_modules").c_str(), 1);
  expect_promised({"/usr/bin/env", "node", folder() / "client.js"});
}

}  // namespace
}  // namespace troupe::test
