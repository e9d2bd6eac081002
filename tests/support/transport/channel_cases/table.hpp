// SPDX-License-Identifier: MIT
#pragma once
// The table channel × case, printed after the tests.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace troupe::test {

class ConformanceTable : public testing::Environment {
 public:
  void TearDown() override {
    if (std::getenv("TROUPE_CONFORMANCE_TABLE") == nullptr) return;
    const auto& all = *testing::UnitTest::GetInstance();
    for (int i = 0; i < all.total_test_suite_count(); ++i) {
      const auto& suite = *all.GetTestSuite(i);
      if (!std::string{suite.name()}.ends_with("/ChannelConformance")) continue;
      for (int k = 0; k < suite.total_test_count(); ++k) add(*suite.GetTestInfo(k));
    }
    print();
  }

 private:
  void add(const testing::TestInfo& test) {
    const std::string name = test.name();
    const auto slash = name.find('/');
    const std::string channel = name.substr(slash + 1);
    const std::string what = sentence(name.substr(0, slash));
    if (std::ranges::find(channels_, channel) == channels_.end()) channels_.push_back(channel);
    if (std::ranges::find(cases_, what) == cases_.end()) cases_.push_back(what);
    cells_[{what, channel}] = verdict(test);
  }

  static std::string verdict(const testing::TestInfo& test) {
    if (!test.should_run()) return "not run";
    const auto& result = *test.result();
    if (result.Failed()) return "**no**";
    if (!result.Skipped()) return "yes";
    for (int i = 0; i < result.total_part_count(); ++i)
      if (result.GetTestPartResult(i).skipped()) return "— " + reason(result.GetTestPartResult(i).message());
    return "—";
  }

  /// GoogleTest puts a line of its own in front.
  static std::string reason(const std::string& message) {
    const auto last_line = message.rfind('\n');
    return last_line == std::string::npos ? message : message.substr(last_line + 1);
  }

  /// "SaysClosedOnce" → "says closed once".
  static std::string sentence(const std::string& name) {
    std::string text;
    for (const char c : name) {
      const bool begins = c >= 'A' && c <= 'Z';
      if (begins && !text.empty()) text += ' ';
      text += begins ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return text;
  }

  void print() const {
    std::string head = "| a channel … |";
    std::string rule = "|---|";
    for (const auto& channel : channels_) {
      head += " " + channel + " |";
      rule += "---|";
    }
    std::printf("%s\n%s\n", head.c_str(), rule.c_str());
    for (const auto& what : cases_) {
      std::string line = "| " + what + " |";
      for (const auto& channel : channels_) {
        const auto cell = cells_.find({what, channel});
        line += " " + (cell == cells_.end() ? "" : cell->second) + " |";
      }
      std::printf("%s\n", line.c_str());
    }
  }

  std::vector<std::string> channels_;
  std::vector<std::string> cases_;
  std::map<std::pair<std::string, std::string>, std::string> cells_;
};

// GoogleTest owns it.
inline testing::Environment* const conformance_table =
    testing::AddGlobalTestEnvironment(new ConformanceTable);

}  // namespace troupe::test
