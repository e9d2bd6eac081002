// SPDX-License-Identifier: MIT
#include <troupe/runtime/subprocess.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <optional>
#include <troupe/runtime/conversation.hpp>
#include <troupe/runtime/program_start.hpp>
#include <troupe/transport/pipe_end.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe {

using detail::Conversation;
using detail::Intake;
using detail::Moves;
using detail::TakenTurn;

struct Subprocess::State {
  explicit State(const SubprocessOptions& options)
      : ladder{options.stop}, at_end{options.at_end}, talk{options.drain_within} {}

  StopLadder ladder;
  AtEnd at_end;
  Conversation talk;
  detail::Turn writing{};
  detail::Turn reading{};
  detail::Turn helping{};
  std::atomic<int> readers{0};  // that have the reading turn, or wait for it
  std::atomic<int> helpers{0};  // at most one
  OwnedFd knock{};              // an eventfd: the helper is to look at `readers` again
  bool communicating = false;   // of who has both turns

  [[nodiscard]] detail::RunningProgram& program() const { return *talk.programs.front(); }
  [[nodiscard]] Intake& intake(Stream stream) { return stream == Stream::error ? talk.error : talk.output; }
  void call_helper() {
    constexpr std::uint64_t one = 1;
    if (helpers > 0) [[maybe_unused]]
      const auto rung = ::write(knock.get(), &one, sizeof one);
  }
  [[nodiscard]] Error error(ErrorKind kind, std::string_view why) const {
    return {kind, 0, program().name() + ": " + std::string{why}};
  }
};

namespace {

constexpr TimePoint at_once{};

std::optional<TakenTurn> taken(detail::Turn& turn, TimePoint deadline) {
  if (!turn.take(deadline)) return std::nullopt;
  return std::optional<TakenTurn>{std::in_place, turn};
}

tl::unexpected<Error> as_failure(Error error) { return tl::unexpected<Error>{std::move(error)}; }

bool is_readable(const Intake& intake) {
  return !intake.held().empty() || !intake.open() || detail::wait_readable(intake.descriptor(), TimePoint{});
}

}  // namespace

// ---- turns ----------------------------------------------------------------------------------------

/// The turn of one who wants what is read. Whoever only helps gives it up for him.
class Subprocess::Reading {
 public:
  Reading(State& state, TimePoint deadline) : state_{state} {
    ++state_.readers;
    state_.call_helper();
    if (state_.reading.take(deadline)) turn_.emplace(state_.reading);
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  ~Reading() {
    turn_.reset();
    --state_.readers;
    state_.call_helper();
  }
  [[nodiscard]] explicit operator bool() const noexcept { return turn_.has_value(); }

 private:
  State& state_;
  std::optional<TakenTurn> turn_{};
};

/// Waits for something else, and reads meanwhile what nobody wants to read, so that the child is not kept.
class Subprocess::Helping {
 public:
  Helping(State& state, TimePoint deadline) : state_{state}, turn_{taken(state.helping, deadline)} {
    if (turn_) ++state_.helpers;
  }
  Helping(const Helping&) = delete;
  Helping& operator=(const Helping&) = delete;
  ~Helping() {
    if (turn_) --state_.helpers;
  }
  [[nodiscard]] explicit operator bool() const noexcept { return turn_.has_value(); }

  /// As Conversation::move_until.
  template <class Done>
  [[nodiscard]] Result<bool> until(const Done& done, bool feed, TimePoint deadline) {
    if (!turn_) return state_.talk.move_until(done, {.feed = feed, .intakes = false}, deadline);
    for (;;) {
      std::uint64_t rings = 0;
      [[maybe_unused]] const auto heard = ::read(state_.knock.get(), &rings, sizeof rings);
      const auto reading = state_.readers == 0 ? taken(state_.reading, at_once) : std::nullopt;
      const auto look_up = [&] { return done() || detail::wait_readable(state_.knock.get(), at_once); };
      auto moved = state_.talk.move_until(
          look_up, {.feed = feed, .intakes = reading.has_value(), .knock = state_.knock.get()}, deadline);
      if (!moved || !*moved || done()) return moved;
    }
  }

 private:
  State& state_;
  std::optional<TakenTurn> turn_;
};

// ---- Subprocess -----------------------------------------------------------------------------------

Subprocess::Subprocess(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}
Subprocess::Subprocess(Subprocess&&) noexcept = default;
Subprocess& Subprocess::operator=(Subprocess&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

Subprocess::~Subprocess() {
  if (!state_ || state_->program().forked()) return;
  if (state_->at_end == AtEnd::join) {
    close_input();
    [[maybe_unused]] const auto joined = join();
  }
  if (alive()) [[maybe_unused]]
    const auto stopped = stop();
}

Result<Subprocess> Subprocess::start(const std::vector<std::string>& words,
                                     const SubprocessOptions& options) {
  auto knock = detail::owned(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "start of a program: eventfd");
  if (!knock) return failure(std::move(knock));
  auto started = detail::start_program(words, options);
  if (!started) return failure(std::move(started));
  auto state = std::make_unique<State>(options);
  state->talk.programs.push_back(
      std::make_unique<detail::RunningProgram>(detail::name_of_program(words, options), started->pid,
                                               std::move(started->pidfd), options.process_group));
  if (started->input) state->talk.feed = detail::Feed{std::move(started->input)};
  if (started->output) state->talk.output = Intake{std::move(started->output), options.output_bytes_max};
  if (started->error) state->talk.error = Intake{std::move(started->error), options.output_bytes_max};
  state->talk.feed.add(options.input);
  state->knock = std::move(*knock);
  return Subprocess{std::move(state)};
}

Result<Finished> Subprocess::communicate(std::string_view input, Duration within) {
  State& state = *state_;
  if (auto own = state.program().check_fork(); !own) return failure(std::move(own));
  const TimePoint deadline = deadline_in(within);
  const auto writing = taken(state.writing, deadline);
  const Reading reading{state, deadline};
  if (!writing || !reading)
    return as_failure(state.error(ErrorKind::timed_out, "another thread has its pipes"));
  if (!input.empty() && state.communicating)
    return as_failure(state.error(ErrorKind::invalid,
                                  "its first input is still on its way; go on with communicate({}, …)"));
  if (!input.empty() && !state.talk.feed.open())
    return as_failure(state.error(ErrorKind::invalid, "its standard_input is no pipe, or closed"));
  state.communicating = true;
  state.talk.feed.add(input);
  if (auto finished = state.talk.finish(deadline); !finished) return failure(std::move(finished));
  auto report = state.program().reap();
  if (!report) return as_failure(state.error(ErrorKind::timed_out, "it has ended, and is traced"));
  return Finished{.report = std::move(*report),
                  .standard_output = state.talk.output.take_all(),
                  .standard_error = state.talk.error.take_all(),
                  .cut = state.talk.was_cut()};
}

Result<void> Subprocess::write(std::string_view bytes, Duration within) {
  State& state = *state_;
  if (auto own = state.program().check_fork(); !own) return own;
  const TimePoint deadline = deadline_in(within);
  const auto writing = taken(state.writing, deadline);
  if (!writing)
    return as_failure(state.error(ErrorKind::refused, "another thread writes; these bytes were not taken"));
  detail::Feed& feed = state.talk.feed;
  if (feed.open()) {
    feed.add(bytes);
    auto written = Helping{state, at_once}.until([&] { return !feed.pending(); }, true, deadline);
    if (!written) return failure(std::move(written));
    if (!*written)
      return as_failure(
          state.error(ErrorKind::timed_out, "it does not read; the rest is kept, go on with write({})"));
  }
  if (!feed.open()) return as_failure(state.error(ErrorKind::closed, "it does not read any more"));
  return {};
}

void Subprocess::close_input() {
  if (state_->program().forked()) return;
  const auto writing = taken(state_->writing, never);
  state_->talk.feed.close();
}

Result<std::string> Subprocess::read_line(Duration within, Stream from) {
  State& state = *state_;
  if (auto own = state.program().check_fork(); !own) return failure(std::move(own));
  const TimePoint deadline = deadline_in(within);
  const Reading reading{state, deadline};
  if (!reading) return as_failure(state.error(ErrorKind::timed_out, "another thread reads"));
  Intake& intake = state.intake(from);
  std::optional<std::string> line;
  const auto has_line = [&] { return (line = intake.take_line()).has_value() || !intake.open(); };
  auto came = state.talk.move_until(has_line, {.feed = false}, deadline);
  if (!came) return failure(std::move(came));
  if (line) return std::move(*line);
  if (!*came) return as_failure(state.error(ErrorKind::timed_out, "no whole line has come in time"));
  if (intake.held().empty()) return as_failure(state.error(ErrorKind::closed, "that was all it said"));
  return intake.take_all();
}

Result<std::string> Subprocess::read_some(Duration within, Stream from) {
  State& state = *state_;
  if (auto own = state.program().check_fork(); !own) return failure(std::move(own));
  const TimePoint deadline = deadline_in(within);
  const Reading reading{state, deadline};
  if (!reading) return as_failure(state.error(ErrorKind::timed_out, "another thread reads"));
  Intake& intake = state.intake(from);
  const auto has_some = [&] { return !intake.held().empty() || !intake.open(); };
  auto came = state.talk.move_until(has_some, {.feed = false}, deadline);
  if (!came) return failure(std::move(came));
  if (!intake.held().empty()) return intake.take_all();
  return as_failure(*came ? state.error(ErrorKind::closed, "that was all it said")
                          : state.error(ErrorKind::timed_out, "it has said nothing in time"));
}

Waitable Subprocess::readable(Stream from) const {
  const Intake& intake = state_->intake(from);
  return {intake.descriptor(), [&intake] { return is_readable(intake); }};
}

int Subprocess::descriptor(Stream of) const {
  return of == Stream::input ? state_->talk.feed.descriptor() : state_->intake(of).descriptor();
}

Result<ExitReport> Subprocess::join(Duration within) {
  State& state = *state_;
  if (auto own = state.program().check_fork(); !own) return failure(std::move(own));
  const TimePoint deadline = deadline_in(within);
  const auto over = [&] { return state.program().ended(); };
  if (!over()) {
    auto waited = Helping{state, deadline}.until(over, false, deadline);
    if (!waited) return failure(std::move(waited));
  }
  if (auto report = state.program().reap()) return std::move(*report);
  return as_failure(state.error(ErrorKind::timed_out, "it has not ended in time"));
}

Result<ExitReport> Subprocess::stop() { return stop(state_->ladder); }

Result<ExitReport> Subprocess::stop(StopLadder ladder) {
  State& state = *state_;
  if (auto own = state.program().check_fork(); !own) return failure(std::move(own));
  {
    const auto writing = taken(state.writing, at_once);
    const Reading reading{state, at_once};
    const Moves moves{.feed = writing.has_value(), .intakes = static_cast<bool>(reading)};
    if (auto stopped = state.talk.stop(ladder, moves); !stopped) return failure(std::move(stopped));
  }
  return join(Duration::zero());
}

Result<void> Subprocess::signal(int number) { return state_->program().signal(number); }
Result<void> Subprocess::interrupt() { return signal(SIGINT); }
Result<void> Subprocess::terminate() { return signal(SIGTERM); }
Result<void> Subprocess::kill() { return signal(SIGKILL); }
Result<void> Subprocess::suspend() { return signal(SIGSTOP); }
Result<void> Subprocess::resume() { return signal(SIGCONT); }

bool Subprocess::alive() const { return !state_->program().ended(); }
std::optional<ExitReport> Subprocess::exit_report() const { return state_->program().reap(); }
int Subprocess::sentinel() const noexcept { return state_->program().pidfd(); }
int Subprocess::pid() const noexcept { return state_->program().pid(); }
const std::string& Subprocess::name() const noexcept { return state_->program().name(); }

// ---- run ------------------------------------------------------------------------------------------

Result<void> Finished::check() const {
  if (ok()) return {};
  const std::string said = detail::last_lines(standard_error);
  return failure(timed_out ? ErrorKind::timed_out : ErrorKind::refused,
                 report.name + ": " + (timed_out ? "it overran its time, " : "") + to_string(report.reason) +
                     (said.empty() ? "" : "; it said: " + said));
}

Result<Finished> run(const std::vector<std::string>& words, const SubprocessOptions& options) {
  const TimePoint deadline = deadline_in(options.within);
  auto child = Subprocess::start(words, options);
  if (!child) return failure(std::move(child));
  auto finished = child->communicate({}, deadline == never ? Duration::max() : deadline - Clock::now());
  if (finished) return finished;
  if (auto stopped = child->stop(); !stopped) return failure(std::move(stopped));
  if (finished.error().kind != ErrorKind::timed_out) return finished;
  auto rest = child->communicate();  // it has ended: not longer than drain_within
  if (rest) rest->timed_out = true;
  return rest;
}

Result<std::string> output_of(const std::vector<std::string>& words, const SubprocessOptions& options) {
  auto finished = run(words, options);
  if (!finished) return failure(std::move(finished));
  if (auto checked = finished->check(); !checked) return failure(std::move(checked));
  return std::move(finished->standard_output);
}

}  // namespace troupe
