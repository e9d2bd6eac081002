// SPDX-License-Identifier: MIT
#pragma once
// What the conformance suites, of channels and of queues, have in common.
//
// With TROUPE_CONFORMANCE_TABLE set a program says after its tests what became of each case: a line of suite,
// case, carrier and verdict, with tabs between them. sh scripts/conformance makes tables of those.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/transport/syscall.hpp>

#include "transport/gate.hpp"
#include "transport/kind_of.hpp"

namespace troupe::test {

/// Far longer than anything here takes.
inline TimePoint soon() { return deadline_in(std::chrono::seconds{20}); }

/// Cases that a carrier's promise does not cover, and why: they are skipped, and the table says so.
using Exempt = std::map<std::string, std::string>;

/// Why the case that runs is none for this carrier, or nothing.
inline std::string exempt_from(const Exempt& exempt) {
  const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
  const auto reason = exempt.find(name.substr(0, name.find('/')));
  return reason == exempt.end() ? std::string{} : reason->second;
}

class ConformanceTable : public testing::Environment {
 public:
  void TearDown() override {
    if (std::getenv("TROUPE_CONFORMANCE_TABLE") == nullptr) return;
    const auto& all = *testing::UnitTest::GetInstance();
    for (int i = 0; i < all.total_test_suite_count(); ++i) {
      const auto& suite = *all.GetTestSuite(i);
      const std::string name = suite.name();
      for (int k = 0; k < suite.total_test_count(); ++k)
        print(name.substr(name.find('/') + 1), *suite.GetTestInfo(k));
    }
  }

 private:
  static void print(const std::string& suite, const testing::TestInfo& test) {
    if (!suite.ends_with("Conformance")) return;
    const std::string name = test.name();
    const auto slash = name.find('/');
    std::printf("%s\t%s\t%s\t%s\n", suite.c_str(), sentence(name.substr(0, slash)).c_str(),
                name.substr(slash + 1).c_str(), verdict(test).c_str());
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
};

// GoogleTest owns it.
inline testing::Environment* const conformance_table =
    testing::AddGlobalTestEnvironment(new ConformanceTable);

}  // namespace troupe::test
