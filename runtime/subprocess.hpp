// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <troupe/runtime/exit_report.hpp>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/transport/select.hpp>
#include <vector>

namespace troupe {

/// Where one of a program's standard descriptors leads.
class Stdio {
 public:
  enum class Kind : std::uint8_t { null, inherit, pipe, output, descriptor };

  static const Stdio null;  ///< /dev/null
  static const Stdio
      inherit;  ///< where ours leads; /dev/null if ours is closed, so that no file takes its place
  static const Stdio pipe;    ///< to and from this program
  static const Stdio output;  ///< of standard_error: where standard_output leads
  /// Where a descriptor of ours leads, borrowed until the start has returned.
  [[nodiscard]] static constexpr Stdio to(int descriptor) noexcept {
    return Stdio{Kind::descriptor, descriptor};
  }

  [[nodiscard]] constexpr Kind kind() const noexcept { return kind_; }
  [[nodiscard]] constexpr int descriptor() const noexcept { return descriptor_; }

 private:
  constexpr explicit Stdio(Kind kind, int descriptor = -1) noexcept : kind_{kind}, descriptor_{descriptor} {}
  Kind kind_;
  int descriptor_;
};
inline constexpr Stdio Stdio::null{Kind::null};
inline constexpr Stdio Stdio::inherit{Kind::inherit};
inline constexpr Stdio Stdio::pipe{Kind::pipe};
inline constexpr Stdio Stdio::output{Kind::output};

/// The child's environment: ours at the start, or nothing, with changes. A thread that adds a variable
/// meanwhile (setenv) breaks this as it breaks getenv; `inherit = false` does not look at ours.
struct Environment {
  bool inherit = true;
  std::map<std::string, std::string> set{};
  std::vector<std::string> unset{};
};

/// One of ours, and its number in the child: 3 or more, each once.
struct PassedDescriptor {
  int ours = -1;
  int number = -1;
};

/// What the kernel is not to let the program exceed (setrlimit); none: as for us.
struct ProgramLimits {
  std::optional<std::uint64_t> memory_bytes_max{};  ///< address space
  std::optional<std::uint64_t> descriptors_max{};
  std::optional<std::uint64_t> processor_seconds_max{};  ///< SIGXCPU then, SIGKILL a second later
  std::optional<std::uint64_t> core_bytes_max{};
  std::optional<std::uint64_t> file_bytes_max{};
};

/// Who shares the fate of a child: stop() is meant for its whole process group.
enum class ProcessGroup : std::uint8_t {
  own,      ///< a new group: what the child starts is stopped with it; a terminal's Ctrl-C does not reach it
  session,  ///< a new session, and so a group, without a terminal
  inherit,  ///< ours: for programs that use the terminal; stop() then means the child alone
};

enum class AtEnd : std::uint8_t { stop, join };  ///< what ~Subprocess does with a child that lives

/// How a child is made to end: each rung is tried for its time, zero leaves it out, SIGKILL is the last.
struct StopLadder {
  Duration interrupt = Duration::zero();         ///< SIGINT
  Duration terminate = std::chrono::seconds{5};  ///< SIGTERM, and SIGCONT for one that is suspended
};

struct SubprocessOptions {
  std::string name{};  ///< in reports and errors; empty: the program's
  Stdio standard_input = Stdio::null;
  Stdio standard_output = Stdio::pipe;
  Stdio standard_error = Stdio::pipe;
  std::string input{};  ///< fed to it; makes standard_input a pipe if it is not empty
  Environment environment{};
  std::string folder{};                    ///< empty: ours
  std::vector<PassedDescriptor> passed{};  ///< all other descriptors are closed in the child
  std::optional<uid_t> user{};             ///< with `groups` empty a changed user keeps none of our groups
  std::optional<gid_t> group{};
  std::optional<std::vector<gid_t>> groups{};
  std::optional<mode_t> umask{};
  std::optional<int> niceness{};
  std::vector<unsigned> processors{};  ///< affinity; empty: ours
  ProcessGroup process_group = ProcessGroup::own;
  bool no_new_privileges = false;
  /// SIGKILL once the *thread* that started it has ended, as the kernel knows no parents but threads: only
  /// for a thread that lives as long as the program. Lost when the child executes a set-user-id program.
  bool kill_with_parent = false;
  AtEnd at_end = AtEnd::stop;
  ProgramLimits limits{};
  std::size_t output_bytes_max = std::size_t{64} << 20U;  ///< each, of what is said and not read yet
  Duration within = Duration::max();                      ///< run and pipeline: then it is stopped
  StopLadder stop{};                                      ///< by run, pipeline, stop() and ~Subprocess
  /// How long, after the child's end, a process that it left behind may keep us reading its output.
  Duration drain_within = std::chrono::seconds{1};
};

/// A program that has ended and what it said.
///
/// A program that fails or overruns its time is no Error of ours: it ran, and what it said so far is here,
/// which an Error could not carry. check() makes one of it.
struct Finished {
  ExitReport report{};
  std::string standard_output{};
  std::string standard_error{};
  bool timed_out = false;  ///< stopped at the end of `within`
  bool cut = false;        ///< a process it left behind still held its output after `drain_within`

  [[nodiscard]] bool ok() const noexcept { return !timed_out && report.status() == ExitStatus{Exited{0}}; }
  /// `timed_out`, or `refused` with the status and the last lines of its standard error.
  [[nodiscard]] Result<void> check() const;
};

/// Starts a program, feeds it `input`, reads all it says, waits for its end. Ends in bounded time whoever
/// holds its pipes: `within` + the ladder + `drain_within`. `full`: it said more than output_bytes_max and
/// was stopped. What start() says if it could not be started.
[[nodiscard]] Result<Finished> run(const std::vector<std::string>& words,
                                   const SubprocessOptions& options = {});

/// run() whose only good end is exit code 0: its standard output.
[[nodiscard]] Result<std::string> output_of(const std::vector<std::string>& words,
                                            const SubprocessOptions& options = {});

/// A program of its own, started by its words: no shell looks at them.
///
/// It is looked for in its own environment's PATH as execvp does, unless the first word has a slash; a script
/// needs its #! line. It starts with default signals, none blocked, and no descriptors but 0–2 and `passed`.
/// Starting costs the same whatever this process's size, and threads may run: the child shares our memory
/// until it executes, takes no lock and allocates nothing.
///
/// Invariant: a child is reaped once, here; its identity is a pidfd, so no signal ever meets a stranger.
/// Where the program ignores SIGCHLD or reaps what it did not start, its status is Lost, never exit 0.
///
/// While it writes, reads or waits, each call moves also what the other pipes have to say, so that no order
/// of calls makes both sides wait for each other: what comes is kept up to output_bytes_max, then the call is
/// `full`.
///
/// Threads: any may join, stop, signal or ask. One may write while another reads; more of them take turns. In
/// a plain fork's child all calls are `refused`. SIGPIPE is never raised here.
class Subprocess {
 public:
  enum class Stream : std::uint8_t { input, output, error };

  /// Returns when the program runs. Otherwise no process or descriptor is left, and the error names the stage
  /// (folder, user, limits, descriptors, exec, …) with its errno; `invalid` for options without sense,
  /// `exhausted` where a limit was hit.
  [[nodiscard]] static Result<Subprocess> start(const std::vector<std::string>& words,
                                                const SubprocessOptions& options = {});
  Subprocess(Subprocess&&) noexcept;
  Subprocess& operator=(Subprocess&&) noexcept;
  ~Subprocess();  ///< stops it or joins it (at_end); 30 s after SIGKILL even the kernel's word is not waited
                  ///< for

  /// Writes `input`, closes it, reads all that comes, waits for the end. A child that does not read is no
  /// error. `timed_out`: nothing is lost, call it again without input to go on (`invalid` with). `full`: more
  /// than output_bytes_max came.
  [[nodiscard]] Result<Finished> communicate(std::string_view input = {}, Duration within = Duration::max());

  /// Hands over all of `bytes`. When it is `timed_out` or `full` the rest is kept and goes first in whatever
  /// is called next: never write it again. `closed`: it does not read any more.
  [[nodiscard]] Result<void> write(std::string_view bytes, Duration within);
  /// What is still kept of write() is dropped.
  void close_input();
  /// Without its line feed; the last line may have had none. `closed` at the end; `full`: longer than
  /// output_bytes_max. What came of a line before it is `timed_out` is kept.
  [[nodiscard]] Result<std::string> read_line(Duration within, Stream from = Stream::output);
  /// At least one byte, all that is there. `closed` at the end.
  [[nodiscard]] Result<std::string> read_some(Duration within, Stream from = Stream::output);
  /// To wait for output in select() or a loop, and our end of each pipe: -1 where there is none any more.
  [[nodiscard]] Waitable readable(Stream from = Stream::output) const;
  [[nodiscard]] int descriptor(Stream of) const;

  /// Waits for its end, keeping what it says. `timed_out` if it lives on. May be repeated, by any thread.
  [[nodiscard]] Result<ExitReport> join(Duration within = Duration::max());
  /// Ends it and its group; the report says after which signal. What it says meanwhile is kept while there is
  /// room. `timed_out` when not even SIGKILL has ended it within 30 s.
  [[nodiscard]] Result<ExitReport> stop();
  [[nodiscard]] Result<ExitReport> stop(StopLadder ladder);

  // To the child alone; `down` if it has ended.
  Result<void> interrupt();
  Result<void> terminate();
  Result<void> kill();
  Result<void> suspend();
  Result<void> resume();
  Result<void> signal(int number);

  [[nodiscard]] bool alive() const;
  [[nodiscard]] std::optional<ExitReport> exit_report() const;  ///< none while it lives
  [[nodiscard]] int sentinel() const noexcept;  ///< its pidfd, readable once it has ended; owned by this
  [[nodiscard]] int pid() const noexcept;       ///< for people
  [[nodiscard]] const std::string& name() const noexcept;

 private:
  struct State;
  class Reading;
  class Helping;
  explicit Subprocess(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace troupe
