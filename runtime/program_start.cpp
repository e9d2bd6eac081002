// SPDX-License-Identifier: MIT
#include <troupe/runtime/program_start.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <troupe/runtime/child_setup.hpp>
#include <troupe/runtime/pump.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr std::string_view default_path = "/bin:/usr/bin";  // as execvp has it

tl::unexpected<Error> senseless(const std::string& name, std::string_view why) {
  return failure(ErrorKind::invalid, "start of " + name + ": " + std::string{why});
}

bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

bool is_variable(std::string_view name) {
  return !name.empty() && name.find('=') == std::string_view::npos && !has_nul(name);
}

Result<void> check_environment(const std::string& name, const Environment& environment) {
  for (const auto& [variable, value] : environment.set)
    if (!is_variable(variable) || has_nul(value))
      return senseless(name, "an environment variable with an empty name, a = in it or a NUL");
  return {};
}

Result<void> check_descriptors(const std::string& name, const SubprocessOptions& options) {
  std::set<int> numbers;
  for (const auto& [ours, number] : options.passed) {
    if (number <= STDERR_FILENO)
      return senseless(name,
                       "passed descriptors have numbers from 3 on; for 0–2 try standard_input and so on");
    if (!numbers.insert(number).second)
      return senseless(name, "two descriptors are passed as " + std::to_string(number));
  }
  if (options.standard_input.kind() == Stdio::Kind::output ||
      options.standard_output.kind() == Stdio::Kind::output)
    return senseless(name, "Stdio::output is for standard_error");
  const auto kind = options.standard_input.kind();
  if (!options.input.empty() && kind != Stdio::Kind::pipe && kind != Stdio::Kind::null)
    return senseless(name, "it has input, and a standard_input that is no pipe");
  return {};
}

Result<void> check(const std::vector<std::string>& words, const SubprocessOptions& options) {
  const std::string name = name_of_program(words, options);
  if (words.empty() || words.front().empty()) return senseless(name, "no program is named");
  if (std::ranges::any_of(words, has_nul) || has_nul(options.folder))
    return senseless(name, "a NUL in a word, which a program would see cut");
  for (const unsigned number : options.processors)
    if (number >= CPU_SETSIZE) return senseless(name, "no processor has number " + std::to_string(number));
  if (auto checked = check_descriptors(name, options); !checked) return checked;
  return check_environment(name, options.environment);
}

std::vector<std::string> variables_of(const Environment& environment) {
  std::vector<std::string> result;
  const std::set<std::string, std::less<>> unset{environment.unset.begin(), environment.unset.end()};
  for (char** at = ::environ; environment.inherit && at != nullptr && *at != nullptr; ++at) {
    const std::string_view assignment{*at};
    const std::string name{assignment.substr(0, assignment.find('='))};
    if (!unset.contains(name) && !environment.set.contains(name)) result.emplace_back(assignment);
  }
  for (const auto& [name, value] : environment.set)
    result.push_back(std::string{name}.append("=").append(value));
  return result;
}

std::string_view path_of(const std::vector<std::string>& variables) {
  constexpr std::string_view prefix = "PATH=";
  for (const std::string_view one : variables)
    if (one.starts_with(prefix)) return one.substr(prefix.size());
  return default_path;
}

/// An empty part of PATH means the current folder.
std::vector<std::string> candidates_for(const std::string& program, std::string_view path) {
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> result;
  for (;;) {
    const auto end = path.find(':');
    const std::string_view folder = path.substr(0, end);
    result.push_back(folder.empty() ? program : std::string{folder}.append("/").append(program));
    if (end == std::string_view::npos) return result;
    path.remove_prefix(end + 1);
  }
}

template <class Pointer>
std::vector<Pointer> pointers_to(const std::vector<std::string>& texts) {
  std::vector<Pointer> result;
  result.reserve(texts.size() + 1);
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  return result;
}

std::vector<LimitSetting> settings_of(const ProgramLimits& limits) {
  std::vector<LimitSetting> result;
  const auto add = [&](int resource, const std::optional<std::uint64_t>& value, rlim_t grace = 0) {
    if (value) result.push_back({resource, {*value, *value + grace}});
  };
  add(RLIMIT_AS, limits.memory_bytes_max);
  add(RLIMIT_NOFILE, limits.descriptors_max);
  add(RLIMIT_CPU, limits.processor_seconds_max, 1);
  add(RLIMIT_CORE, limits.core_bytes_max);
  add(RLIMIT_FSIZE, limits.file_bytes_max);
  return result;
}

// ---- standard descriptors -------------------------------------------------------------------------

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

/// What a child's 0–2 are made from. The theirs-ends close with this, once the child has its own.
struct Standard {
  OwnedFd null{};
  std::array<PipeEnds, 3> pipes{};
  std::array<int, 3> sources{-1, -1, -1};

  [[nodiscard]] Result<void> choose(std::size_t number, Stdio stdio) {
    switch (stdio.kind()) {
      case Stdio::Kind::pipe: return take_pipe(number);
      case Stdio::Kind::output: sources[number] = sources[STDOUT_FILENO]; return {};
      case Stdio::Kind::descriptor: sources[number] = stdio.descriptor(); return {};
      case Stdio::Kind::inherit:
        sources[number] = static_cast<int>(number);
        return is_open(sources[number]) ? Result<void>{} : take_null(number);
      case Stdio::Kind::null: return take_null(number);
    }
    std::abort();
  }

 private:
  [[nodiscard]] Result<void> take_pipe(std::size_t number) {
    auto ends = make_pipe(number == STDIN_FILENO ? PipeUse::we_write : PipeUse::we_read);
    if (!ends) return failure(std::move(ends));
    pipes[number] = std::move(*ends);
    sources[number] = pipes[number].theirs.get();
    return {};
  }

  [[nodiscard]] Result<void> take_null(std::size_t number) {
    if (!null) {
      auto opened = owned(retried([] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }), "open /dev/null");
      if (!opened) return failure(std::move(opened));
      null = std::move(*opened);
    }
    sources[number] = null.get();
    return {};
  }
};

Result<Standard> standard_of(const SubprocessOptions& options) {
  Standard standard;
  const Stdio input = options.input.empty() ? options.standard_input : Stdio::pipe;
  const std::array<Stdio, 3> wanted{input, options.standard_output, options.standard_error};
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (auto chosen = standard.choose(i, wanted[i]); !chosen) return failure(std::move(chosen));
  return standard;
}

std::vector<DescriptorMove> moves_of(const Standard& standard, const std::vector<PassedDescriptor>& passed) {
  std::vector<DescriptorMove> moves;
  moves.reserve(standard.sources.size() + passed.size());
  for (int i = 0; i < 3; ++i) moves.push_back({standard.sources[static_cast<std::size_t>(i)], i});
  for (const auto& [ours, number] : passed) moves.push_back({ours, number});
  return moves;
}

// ---- what failed ----------------------------------------------------------------------------------

std::string_view stage_name(SetupStage stage) {
  switch (stage) {
    case SetupStage::none: break;
    case SetupStage::clone: return "clone";
    case SetupStage::signals: return "reset its signals";
    case SetupStage::descriptors: return "place its descriptors";
    case SetupStage::umask: return "set its umask";
    case SetupStage::process_group: return "make its process group";
    case SetupStage::niceness: return "set its niceness";
    case SetupStage::processors: return "set its processors";
    case SetupStage::groups: return "set its groups";
    case SetupStage::group: return "set its group";
    case SetupStage::user: return "set its user";
    case SetupStage::folder: return "enter its folder";
    case SetupStage::limits: return "set its limits";
    case SetupStage::privileges: return "give up privileges";
    case SetupStage::parent: return "tie it to its parent";
    case SetupStage::exec: return "execute";
  }
  std::abort();
}

/// Where the child looked for a path: relative ones mean its folder.
std::string seen_from(const std::string& folder, const std::string& path) {
  return folder.empty() || path.starts_with('/') ? path : folder + "/" + path;
}

std::string_view advice_on_exec(const std::vector<std::string>& candidates, const std::string& folder,
                                int errnum) {
  if (errnum == ENOENT && candidates.size() == 1 &&
      ::access(seen_from(folder, candidates.front()).c_str(), F_OK) == 0)
    return "; the file is there, what its #! line or its header names as its interpreter is not";
  if (errnum == ENOENT && candidates.size() > 1) return "; no folder of PATH has it, try a path with a slash";
  if (errnum == EACCES) return "; try chmod +x, and look at the rights of its folders";
  if (errnum == ENOEXEC) return "; try #!/bin/sh as its first line";
  if (errnum == ETXTBSY) return "; somebody has it open for writing";
  return "";
}

std::string_view advice_on(SetupStage stage, int errnum) {
  if (errnum == EAGAIN) return "; the limit of processes is reached, try ulimit -u or the cgroup's pids.max";
  if (errnum == EMFILE) return "; the limit of descriptors is reached, try a larger ulimit -n";
  if (stage == SetupStage::descriptors && errnum == EBADF)
    return "; one that is given to it is not open, or its number there is above ulimit -n";
  return "";
}

Error start_error(const std::string& name, const ChildSetup& setup,
                  const std::vector<std::string>& candidates, const std::string& folder) {
  std::string what = "start of " + name + ": " + std::string{stage_name(setup.stage)};
  if (setup.stage == SetupStage::folder) what += " " + folder;
  if (setup.stage == SetupStage::exec && candidates.size() == 1) what += " " + candidates.front();
  Error error = system_error(what, setup.errnum);
  const auto general = advice_on(setup.stage, setup.errnum);
  error.text += general.empty() && setup.stage == SetupStage::exec
                    ? advice_on_exec(candidates, folder, setup.errnum)
                    : general;
  return error;
}

std::optional<std::vector<gid_t>> groups_of(const SubprocessOptions& options) {
  if (options.groups || !options.user || *options.user == ::geteuid()) return options.groups;
  return std::vector<gid_t>{};
}

cpu_set_t set_of(const std::vector<unsigned>& processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const unsigned number : processors) CPU_SET(number, &set);
  return set;
}

/// Needs no memory of the caller's but what it borrows; all is made before the child is.
Result<ClonedChild> clone_program(const std::vector<std::string>& words, const SubprocessOptions& options,
                                  const Standard& standard) {
  const auto variables = variables_of(options.environment);
  const auto candidates = candidates_for(words.front(), path_of(variables));
  const auto paths = pointers_to<const char*>(candidates);
  auto arguments = pointers_to<char*>(words);
  auto environment = pointers_to<char*>(variables);
  arguments.push_back(nullptr);
  environment.push_back(nullptr);
  auto moves = moves_of(standard, options.passed);
  const auto limits = settings_of(options.limits);
  const auto groups = groups_of(options);
  const cpu_set_t processors = set_of(options.processors);
  ChildSetup setup{.moves = moves,
                   .above = std::ranges::max(moves, {}, &DescriptorMove::to).to + 1,
                   .umask = options.umask,
                   .new_group = options.process_group == ProcessGroup::own,
                   .new_session = options.process_group == ProcessGroup::session,
                   .niceness = options.niceness,
                   .processors = options.processors.empty() ? nullptr : &processors,
                   .group = options.group,
                   .user = options.user,
                   .folder = options.folder.empty() ? nullptr : options.folder.c_str(),
                   .limits = limits,
                   .no_new_privileges = options.no_new_privileges,
                   .kill_with_parent = options.kill_with_parent,
                   .candidates = paths,
                   .words = arguments.data(),
                   .environment = environment.data()};
  if (groups) setup.groups = *groups;
  const ClonedChild cloned = clone_and_execute(setup);
  if (setup.stage == SetupStage::none) return cloned;
  return tl::unexpected<Error>{
      start_error(name_of_program(words, options), setup, candidates, options.folder)};
}

}  // namespace

std::string name_of_program(const std::vector<std::string>& words, const SubprocessOptions& options) {
  if (!options.name.empty()) return options.name;
  return words.empty() ? "a program" : words.front().substr(words.front().rfind('/') + 1);
}

Result<StartedProgram> start_program(const std::vector<std::string>& words,
                                     const SubprocessOptions& options) {
  if (auto checked = check(words, options); !checked) return failure(std::move(checked));
  auto standard = standard_of(options);
  if (!standard) {
    standard.error().text = "start of " + name_of_program(words, options) + ": " + standard.error().text +
                            std::string{advice_on(SetupStage::none, standard.error().errnum)};
    return failure(std::move(standard));
  }
  auto cloned = clone_program(words, options, *standard);
  if (!cloned) return failure(std::move(cloned));
  return StartedProgram{cloned->pid, beyond_standard(OwnedFd{cloned->pidfd}),
                        std::move(standard->pipes[0].ours), std::move(standard->pipes[1].ours),
                        std::move(standard->pipes[2].ours)};
}

}  // namespace troupe::detail
