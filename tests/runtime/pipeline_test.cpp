// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <csignal>
#include <troupe/runtime/pipeline.hpp>

#include "processes.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::patience;

using PipelineTest = test::NothingLeft;

std::vector<std::string> shell(std::string script) { return {"/bin/sh", "-c", std::move(script)}; }

PipelineFinished ran(std::vector<std::vector<std::string>> parts, SubprocessOptions options = {}) {
  options.within = patience;
  return pipeline(std::move(parts)).run(std::move(options)).value();
}

TEST_F(PipelineTest, ConnectsItsParts) {
  const auto finished = ran({{"printf", "b\na\nb\n"}, {"sort", "-r"}, {"uniq", "-c"}, {"tr", "-d", " "}});
  EXPECT_EQ(finished.standard_output, "2b\n1a\n");
  ASSERT_EQ(finished.reports.size(), 4U);
  EXPECT_EQ(finished.reports[1].name, "sort");
  EXPECT_TRUE(finished.ok());
  EXPECT_TRUE(finished.check());
}

TEST_F(PipelineTest, IsFedAndReadAtOnce) {
  const std::string input(std::size_t{10} << 20U, 'a');
  const auto finished = ran({{"cat"}, {"tr", "a", "b"}, {"cat"}}, {.input = input});
  EXPECT_TRUE(finished.standard_output == std::string(input.size(), 'b'));
  EXPECT_TRUE(finished.ok());
}

TEST_F(PipelineTest, OfOnePartIsThatPart) { EXPECT_EQ(ran({{"echo", "x"}}).standard_output, "x\n"); }

TEST_F(PipelineTest, FailsWhicheverPartFails) {
  for (std::size_t bad = 0; bad < 3; ++bad) {
    std::vector<std::vector<std::string>> parts(3, {"cat"});
    parts[bad] = shell("cat; echo broken >&2; exit 5");
    const auto finished = ran(parts, {.input = "x"});
    EXPECT_EQ(finished.standard_output, "x");
    EXPECT_FALSE(finished.ok());
    EXPECT_EQ(finished.reports[bad].status(), ExitStatus{Exited{5}});
    EXPECT_EQ(finished.check().error().text, "pipeline: sh exit 5; it said: broken");
  }
}

TEST_F(PipelineTest, ExcusesAPartWhoseReaderHadEnough) {
  const auto finished = ran({{"yes"}, {"cat"}, {"head", "-1"}});
  EXPECT_EQ(finished.standard_output, "y\n");
  EXPECT_EQ(finished.reports[0].status(), (ExitStatus{Signaled{SIGPIPE, false}}));
  EXPECT_TRUE(finished.ok());
  EXPECT_FALSE(ran({{"yes"}, shell("exec <&-; exit 3")}).ok()) << "the reader itself failed";
  EXPECT_FALSE(ran({{"true"}, shell("kill -PIPE $$")}).ok()) << "the last one has no reader";
}

TEST_F(PipelineTest, GathersTheErrorsOfAll) {
  const auto finished = ran({shell("echo one >&2"), shell("cat; echo two >&2")});
  EXPECT_EQ(finished.standard_error, "one\ntwo\n") << "the second one spoke after the first had ended";
}

TEST_F(PipelineTest, StopsAllAtTheEndOfItsTime) {
  const auto finished =
      pipeline({{"sleep", "1000"}, {"cat"}, {"sleep", "1000"}}).run({.within = 50ms}).value();
  EXPECT_TRUE(finished.timed_out);
  ASSERT_EQ(finished.reports.size(), 3U);
  EXPECT_EQ(finished.reports[0].reason.cause, ExitCause::shutdown);
  EXPECT_EQ(finished.check().error().kind, ErrorKind::timed_out);
}

TEST_F(PipelineTest, StopsTheOthersWhenOneCannotBeStarted) {
  for (std::size_t bad = 0; bad < 3; ++bad) {
    std::vector<std::vector<std::string>> parts(3, {"sleep", "1000"});
    parts[bad] = {"/no/such/program"};
    const auto finished = pipeline(parts).run({.within = patience});
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().errnum, ENOENT);
  }
  EXPECT_EQ(pipeline({}).run().error().kind, ErrorKind::invalid);
}

TEST_F(PipelineTest, IsStoppedWhenItSaysTooMuch) {
  const auto finished = pipeline({{"yes"}, {"cat"}}).run({.output_bytes_max = 1000, .within = patience});
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().kind, ErrorKind::full);
}

TEST_F(PipelineTest, EndsThoughADetachedGrandchildHoldsItsOutput) {
  const auto finished = ran({{"true"}, shell("setsid sleep 1000 & echo $!")}, {.drain_within = 50ms});
  EXPECT_TRUE(finished.cut);
  const test::Watched grandchild{std::stoi(finished.standard_output)};
  grandchild.signal(SIGKILL);
  EXPECT_TRUE(grandchild.gone());
}

}  // namespace
}  // namespace troupe
