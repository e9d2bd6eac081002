// SPDX-License-Identifier: MIT
#include <troupe/runtime/processes.hpp>

#include <algorithm>
#include <string>
#include <troupe/transport/select.hpp>

namespace troupe {

std::size_t Processes::alive() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(all_, [](const Member& member) { return member.process.alive(); }));
}

Result<ExitReport> Processes::next_exit(Duration within) {
  std::vector<Waitable> sentinels;
  std::vector<Member*> waited_for;
  for (Member& member : all_) {
    if (member.told) continue;
    if (member.process.sentinel() == -1) return tell(member);
    sentinels.push_back({member.process.sentinel(), {}});
    waited_for.push_back(&member);
  }
  if (waited_for.empty()) return failure(ErrorKind::closed, "processes: the end of each has been told");
  auto ended = select(sentinels, within);
  if (!ended) return failure(std::move(ended));
  return tell(*waited_for.at(ended->front()));
}

/// The process is gone; that what it had started is gone too takes a moment more.
Result<ExitReport> Processes::tell(Member& ended) {
  auto report = ended.process.join();
  ended.told = report.has_value();
  return report;
}

Result<std::vector<ExitReport>> Processes::join(Duration within) {
  const TimePoint deadline = deadline_in(within);
  std::vector<ExitReport> reports;
  for (Member& member : all_) {
    auto report = member.process.join(deadline == never ? Duration::max() : deadline - Clock::now());
    if (!report && report.error().kind == ErrorKind::timed_out)
      report.error().text +=
          "; " + std::to_string(alive()) + " of " + std::to_string(all_.size()) + " live on";
    if (!report) return failure(std::move(report));
    reports.push_back(std::move(*report));
  }
  return reports;
}

Result<std::vector<ExitReport>> Processes::stop() {
  for (Member& member : all_) [[maybe_unused]] const auto asked = member.process.terminate();
  std::vector<ExitReport> reports;
  for (Member& member : all_) {
    auto report = member.process.stop();
    if (!report) return failure(std::move(report));
    reports.push_back(std::move(*report));
  }
  return reports;
}

}  // namespace troupe
