// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <csignal>
#include <sstream>
#include <troupe/runtime/exit_status.hpp>

namespace troupe {
namespace {

template <class T>
std::string printed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

TEST(ExitStatus, SaysTheCodeOrTheSignalsName) {
  EXPECT_EQ(printed(ExitStatus{Exited{0}}), "exit 0");
  EXPECT_EQ(printed(ExitStatus{Exited{3}}), "exit 3");
  EXPECT_EQ(printed(ExitStatus{Signaled{SIGKILL, false}}), "SIGKILL");
  EXPECT_EQ(printed(ExitStatus{Signaled{SIGSEGV, true}}), "SIGSEGV (core dumped)");
}

TEST(ExitStatus, NamesRealTimeAndUnknownSignalsByNumber) {
  EXPECT_EQ(to_string(ExitStatus{Signaled{SIGRTMIN + 3, false}}), "SIGRTMIN+3");
  EXPECT_EQ(to_string(ExitStatus{Signaled{SIGRTMAX + 1, false}}), "signal " + std::to_string(SIGRTMAX + 1));
  EXPECT_EQ(to_string(ExitStatus{Signaled{-1, false}}), "signal -1");
}

TEST(ExitStatus, ExitCode9IsNotSigkill) {
  EXPECT_NE(ExitStatus{Exited{9}}, (ExitStatus{Signaled{9, false}}));
}

TEST(ExitReason, ReadsAsASentenceForEachCause) {
  const ExitStatus sigkill = Signaled{SIGKILL, false};
  const struct {
    ExitReason reason;
    const char* sentence;
  } table[] = {
      {{}, "exit 0"},
      {{ExitCause::failed, Exited{1}, "disk gone"}, "exit 1: disk gone"},
      {{ExitCause::signaled, sigkill}, "SIGKILL"},
      {{ExitCause::shutdown}, "shutdown"},
      {{ExitCause::shutdown, sigkill}, "shutdown (SIGKILL)"},
      {{ExitCause::hung, sigkill}, "hung (no progress, then SIGKILL)"},
      {{ExitCause::init_failed, Exited{0}, "clone: no memory"}, "init failed: clone: no memory"},
      {{ExitCause::init_failed, sigkill, "not ready within 30 s"},
       "init failed (SIGKILL): not ready within 30 s"},
      {{ExitCause::restart_limit, Exited{1}, "7 ends within 10 s"}, "given up: 7 ends within 10 s"},
  };
  for (const auto& row : table) EXPECT_EQ(printed(row.reason), row.sentence);
}

TEST(ExitReason, OnlyNormalEndsAndShutdownsAreNoFailures) {
  for (const auto cause : {ExitCause::normal, ExitCause::shutdown}) EXPECT_TRUE(is_normal(cause));
  for (const auto cause : {ExitCause::failed, ExitCause::signaled, ExitCause::hung, ExitCause::init_failed,
                           ExitCause::restart_limit}) {
    EXPECT_FALSE(is_normal(cause));
  }
}

TEST(ExitReason, DetailIsCutToItsBoundAndNeverWithinACharacter) {
  EXPECT_EQ(clipped("short"), "short");
  EXPECT_EQ(clipped(std::string(detail_bytes_max, 'a')).size(), detail_bytes_max);
  EXPECT_EQ(clipped(std::string(detail_bytes_max + 1, 'a')).size(), detail_bytes_max);
  EXPECT_EQ(clipped(std::string(detail_bytes_max - 1, 'a') + "é"), std::string(detail_bytes_max - 1, 'a'));
  EXPECT_EQ(clipped(std::string(detail_bytes_max - 2, 'a') + "é and more").size(), detail_bytes_max);
  EXPECT_EQ(clipped(std::string(1000, '\x80')), "") << "not UTF-8 at all: no harm";
}

}  // namespace
}  // namespace troupe
