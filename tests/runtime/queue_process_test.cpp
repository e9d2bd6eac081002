// SPDX-License-Identifier: MIT
// Queues and their ends as arguments of processes that the keeper starts.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/queue.hpp>
#include <vector>

#include "leaves_nothing.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 20s;
constexpr int jobs_a_writer = 200;

struct Job {
  int number = 0;
};

void produce(Sender<Job> out, int first) {
  for (int i = 0; i < jobs_a_writer; ++i) out.put({first + i}, patience).value();
}
void square(Receiver<Job> in, Sender<int> out) {
  for (auto& job : in) {
    out.put(job->number * 2, patience).value();
    job.acknowledge();
  }
}
void take_one_and_hang(Receiver<Job> in, Sender<int> told) {
  auto job = in.get(patience).value();
  told.put(1).value();
  for (;;) [[maybe_unused]] const auto nothing = select({Waitable{in.readable().descriptor, {}}}, patience);
}
void die_at_once(const Sender<Job>& /*out*/) { ::_exit(3); }

class QueueProcesses : public test::LeavesNothing, public ::testing::WithParamInterface<StartMethod> {
 protected:
  [[nodiscard]] ProcessOptions options(const char* name) const {
    return {.name = name, .method = GetParam()};
  }
};

std::vector<int> all_of(Receiver<int>& in) {
  std::vector<int> all;
  for (auto& item : in) {
    all.push_back(*item);
    item.acknowledge();
  }
  std::sort(all.begin(), all.end());
  return all;
}

TEST_P(QueueProcesses, WritersAndReadersGetEndsOfTheirOwn) {
  Queue<Job> jobs;
  Queue<int> results;
  Process writer{options("writer"), produce, jobs.sender(), 0};
  Process other{options("other"), produce, jobs, jobs_a_writer};
  Process reader{options("reader"), square, jobs.receiver(), results.sender()};
  Process second{options("second"), square, jobs, results};
  for (Process* const process : {&writer, &other, &reader, &second}) process->start().value();
  jobs.close();
  auto in = results.receiver();
  results.close();
  std::vector<int> expected(2 * jobs_a_writer);
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<int>(i) * 2;
  EXPECT_EQ(all_of(in), expected);
  for (Process* const process : {&writer, &other, &reader, &second})
    EXPECT_TRUE(process->join(patience).has_value());
}

TEST_P(QueueProcesses, AnItemOfAKilledProcessGoesToAnother) {
  Queue<Job> jobs;
  Queue<int> told;
  jobs.sender().put({7}).value();
  Process victim{options("victim"), take_one_and_hang, jobs.receiver(), told.sender()};
  victim.start().value();
  told.receiver().get(patience).value().acknowledge();
  victim.kill().value();
  auto job = jobs.receiver().get(patience).value();
  EXPECT_EQ(job->number, 7);
  EXPECT_EQ(job.attempt(), 2U);
  job.acknowledge();
}

TEST_P(QueueProcesses, AWriterThatDiesHoldsNoStreamOpen) {
  Queue<Job> jobs;
  auto in = jobs.receiver();
  Process dies{options("dies"), die_at_once, jobs.sender()};
  dies.start().value();
  jobs.close();
  EXPECT_EQ(in.get(patience).error().kind, ErrorKind::closed);
}

TEST_P(QueueProcesses, AProcessThatIsNeverStartedHoldsNoStreamOpen) {
  Queue<Job> jobs;
  auto in = jobs.receiver();
  { const Process never{options("never"), produce, jobs.sender(), 0}; }
  jobs.close();
  EXPECT_EQ(in.get(10ms).error().kind, ErrorKind::closed);
}

INSTANTIATE_TEST_SUITE_P(Runtime, QueueProcesses,
                         ::testing::Values(StartMethod::forkserver, StartMethod::spawn),
                         [](const auto& method) {
                           return method.param == StartMethod::spawn ? "spawn" : "forkserver";
                         });

}  // namespace
}  // namespace troupe
