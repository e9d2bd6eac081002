// SPDX-License-Identifier: MIT
#include <troupe/runtime/pipeline.hpp>

#include <algorithm>
#include <csignal>
#include <troupe/runtime/conversation.hpp>
#include <troupe/runtime/program_start.hpp>

namespace troupe {

using detail::Conversation;

namespace {

constexpr ExitStatus success = Exited{0};

/// The first part that failed and is not excused, else the number of parts.
std::size_t first_failed(const std::vector<ExitReport>& reports) noexcept {
  std::size_t failed = reports.size();
  bool reader_failed = true;  // behind the last one there is none
  for (std::size_t i = reports.size(); i-- > 0;) {
    const auto* const signaled = std::get_if<Signaled>(&reports[i].status());
    const bool excused = !reader_failed && signaled != nullptr && signaled->number == SIGPIPE;
    reader_failed = reports[i].status() != success && !excused;
    if (reader_failed) failed = i;
  }
  return failed;
}

}  // namespace

bool PipelineFinished::ok() const noexcept { return !timed_out && first_failed(reports) == reports.size(); }

Result<void> PipelineFinished::check() const {
  if (ok()) return {};
  const std::size_t failed = first_failed(reports);
  const std::string said = detail::last_lines(standard_error);
  return failure(timed_out ? ErrorKind::timed_out : ErrorKind::refused,
                 "pipeline: " + std::string{timed_out ? "it overran its time" : ""} +
                     (failed == reports.size() ? ""
                                               : std::string{timed_out ? ", " : ""} + reports[failed].name +
                                                     " " + to_string(reports[failed].reason)) +
                     (said.empty() ? "" : "; it said: " + said));
}

namespace {

/// Starts the parts one after another, and keeps what connects them until both sides have it.
class Assembly {
 public:
  Assembly(const SubprocessOptions& options, std::size_t parts)
      : options_{options}, parts_{parts}, talk_{options.drain_within} {}

  Result<void> add(const std::vector<std::string>& words) {
    SubprocessOptions of_part = options_;
    const std::size_t place = talk_.programs.size();
    if (place > 0) {
      of_part.input.clear();
      of_part.standard_input = Stdio::to(previous_.get());
    }
    detail::PipeEnds next;
    if (place + 1 < parts_) {
      auto made = detail::make_pipe(detail::PipeUse::between_programs);
      if (!made) return failure(std::move(made));
      next = std::move(*made);
      of_part.standard_output = Stdio::to(next.theirs.get());
    }
    if (options_.standard_error.kind() == Stdio::Kind::pipe) {
      if (auto made = share_error(); !made) return made;
      of_part.standard_error = Stdio::to(error_.get());
    }
    auto started = detail::start_program(words, of_part);
    if (!started) return failure(std::move(started));
    talk_.programs.push_back(std::make_unique<detail::RunningProgram>(detail::name_of_program(words, of_part),
                                                                      started->pid, std::move(started->pidfd),
                                                                      of_part.process_group));
    if (started->input) {
      talk_.feed = detail::Feed{std::move(started->input)};
      talk_.feed.add(options_.input);
    }
    if (started->output) talk_.output = detail::Intake{std::move(started->output), options_.output_bytes_max};
    previous_ = std::move(next.ours);
    return {};
  }

  [[nodiscard]] Conversation take() {
    error_.reset();
    return std::move(talk_);
  }
  [[nodiscard]] Result<void> stop() { return talk_.stop(options_.stop, {}); }

 private:
  Result<void> share_error() {
    if (error_) return {};
    auto made = detail::make_pipe(detail::PipeUse::we_read);
    if (!made) return failure(std::move(made));
    talk_.error = detail::Intake{std::move(made->ours), options_.output_bytes_max};
    error_ = std::move(made->theirs);
    return {};
  }

  const SubprocessOptions& options_;
  std::size_t parts_;
  Conversation talk_;
  OwnedFd previous_{};  ///< what the part before writes to, at its reading end
  OwnedFd error_{};
};

Result<PipelineFinished> finished(Conversation& talk) {
  PipelineFinished result{.standard_output = talk.output.take_all(),
                          .standard_error = talk.error.take_all(),
                          .cut = talk.was_cut()};
  for (const auto& program : talk.programs) {
    auto report = program->reap();
    if (!report) return failure(ErrorKind::timed_out, program->name() + ": it has ended, and is traced");
    result.reports.push_back(std::move(*report));
  }
  return result;
}

}  // namespace

Result<PipelineFinished> Pipeline::run(const SubprocessOptions& options) const {
  if (parts_.empty()) return failure(ErrorKind::invalid, "pipeline: it has no part");
  const TimePoint deadline = deadline_in(options.within);
  Assembly assembly{options, parts_.size()};
  for (const auto& words : parts_)
    if (auto added = assembly.add(words); !added) {
      if (auto stopped = assembly.stop(); !stopped) return failure(std::move(stopped));
      return failure(std::move(added));
    }
  Conversation talk = assembly.take();
  auto done = talk.finish(deadline);
  if (done) return finished(talk);
  if (auto stopped = talk.stop(options.stop, {}); !stopped) return failure(std::move(stopped));
  if (done.error().kind != ErrorKind::timed_out) return failure(std::move(done));
  if (auto drained = talk.finish(never); !drained) return failure(std::move(drained));
  auto result = finished(talk);
  if (result) result->timed_out = true;
  return result;
}

}  // namespace troupe
