// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <sched.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <ostream>
#include <random>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "view.hpp"

namespace verify {
namespace {

constexpr std::uint64_t deaths_max = 1'000'000;
constexpr double chaos_max = 1000;
constexpr double seconds_max = 1e6;

constexpr std::string_view help_text =
    R"(verify - checks every installed file of this machine against its MD5 lists

usage: verify [options]

what to check
  --root DIR         the folder the files are under (default: /)
  --manifest FILE    a list in md5sum's format instead of dpkg's; - is standard
                     input
  --workers N        hasher processes (default: the processors that may be used)
  --seconds-min S    repeat the whole pass until S seconds have gone by

what to endure
  --chaos RATE       kill, stop or crash a random process RATE times a second
  --deaths N         N deaths, spread over the work
  --seed S           makes the chaos the same again

what to say
  --against-md5sum   ask coreutils' md5sum -c about the same list, compare every
                     verdict, and print both times
  --json             one JSON object on standard output, all talk on standard
                     error; a byte of a path that is not UTF-8 is written as
                     \udcNN, as Python's surrogateescape does
  -q, --quiet        no progress
  -h, --help         this text

exit status: 0 everything matched (with --against-md5sum: both agree),
1 the job failed, 2 wrong usage, 3 some files did not match
)";

constexpr std::array<std::string_view, 11> option_names{
    "--root", "--manifest",       "--workers", "--seconds-min", "--chaos", "--deaths",
    "--seed", "--against-md5sum", "--json",    "--quiet",       "--help"};

// The command line as it was written.
struct Texts {
  std::string root = "/";
  std::optional<std::string> manifest{};
  std::optional<std::string> workers{};
  std::optional<std::string> seconds_min{};
  std::optional<std::string> chaos{};
  std::optional<std::string> deaths{};
  std::optional<std::string> seed{};
  bool against_md5sum = false;
  bool json = false;
  bool quiet = false;
  bool help = false;
};

struct UsageError {
  std::string text{};
};

[[noreturn]] void refuse(std::string_view what, std::string_view why, std::string_view attempt) {
  throw UsageError{std::string{what} + ": " + std::string{why} + "; try " + std::string{attempt}};
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, change}));
    }
  }
  return row[b.size()];
}

[[noreturn]] void refuse_unknown(std::string_view argument) {
  const auto name = argument.substr(0, std::min(argument.find('='), std::size_t{64}));
  if (!name.starts_with('-')) refuse(argument, "verify takes options only", "verify --help");
  const auto* nearest = std::min_element(option_names.begin(), option_names.end(), [&](auto a, auto b) {
    return edit_distance(name, a) < edit_distance(name, b);
  });
  if (edit_distance(name, *nearest) <= std::max<std::size_t>(2, name.size() / 3)) {
    refuse(argument, "no such option, did you mean " + std::string{*nearest} + "?", "verify --help");
  }
  refuse(argument, "no such option", "verify --help");
}

template <class Number>
Number number(std::string_view option, const std::string& text, Number smallest, Number largest,
              std::string_view attempt) {
  Number value{};
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const auto what = std::string{option} + " " + text;
  if (error == std::errc::result_out_of_range) refuse(what, "is too large", attempt);
  if (error != std::errc{} || stop != end) refuse(what, "is no number this option takes", attempt);
  if (!(value >= smallest)) refuse(what, "is too small", attempt);
  if (value > largest) refuse(what, "is too large", attempt);
  return value;
}

std::uint64_t random_seed() {
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32U | device();
}

void check_root(const std::string& root) {
  struct stat status {};
  const auto what = "--root " + root;
  if (::stat(root.c_str(), &status) != 0)
    refuse(what, std::generic_category().message(errno), "a folder that exists");
  if (!S_ISDIR(status.st_mode)) refuse(what, "is not a folder", "the folder that holds var/lib/dpkg/info");
}

Options options_of(const Texts& texts) {
  Options options{.workers = std::min(process_cpu_count(), workers_max),
                  .root = texts.root,
                  .manifest = texts.manifest,
                  .against_md5sum = texts.against_md5sum,
                  .seed_given = texts.seed.has_value(),
                  .json = texts.json,
                  .quiet = texts.quiet};
  const auto whole_max = std::numeric_limits<std::uint64_t>::max();
  if (texts.workers) {
    options.workers = number("--workers", *texts.workers, 1U, workers_max, "a number from 1 to 1024");
  }
  if (texts.chaos) {
    options.chaos_per_second =
        number("--chaos", *texts.chaos, 0.0, chaos_max, "deaths per second, 0 to 1000");
  }
  if (texts.deaths) {
    options.deaths =
        number("--deaths", *texts.deaths, std::uint64_t{0}, deaths_max, "a number from 0 to 1000000");
  }
  if (texts.seconds_min) {
    options.seconds_min =
        number("--seconds-min", *texts.seconds_min, 0.0, seconds_max, "seconds, 0 to 1000000");
  }
  options.seed = options.seed_given
                     ? number("--seed", *texts.seed, std::uint64_t{0}, whole_max, "a whole number")
                     : random_seed();
  check_root(options.root);
  return options;
}

Texts texts_of(int argc, char** argv) {
  Texts texts;
  CLI::App app;
  app.set_help_flag();
  app.add_flag("-h,--help", texts.help)->disable_flag_override();
  app.add_flag("-q,--quiet", texts.quiet)->disable_flag_override();
  app.add_flag("--json", texts.json)->disable_flag_override();
  app.add_flag("--against-md5sum", texts.against_md5sum)->disable_flag_override();
  app.add_option("--root", texts.root)->type_name("value");
  app.add_option("--manifest", texts.manifest)->type_name("value");
  app.add_option("--workers", texts.workers)->type_name("value");
  app.add_option("--seconds-min", texts.seconds_min)->type_name("value");
  app.add_option("--chaos", texts.chaos)->type_name("value");
  app.add_option("--deaths", texts.deaths)->type_name("value");
  app.add_option("--seed", texts.seed)->type_name("value");
  app.allow_extras();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const std::string text = error.what();  // most, but not all, name the option and a colon first
    throw UsageError{(text.find(": ") == std::string::npos ? "command line: " : "") + text +
                     "; try verify --help"};
  }
  auto unknown = app.remaining();
  std::erase(unknown, "--");
  if (!unknown.empty() && !texts.help) refuse_unknown(unknown.front());
  return texts;
}

}  // namespace

std::variant<Options, ExitNow> parse(int argc, char** argv, std::ostream& out, std::ostream& err) {
  try {
    const auto texts = texts_of(argc, argv);
    if (!texts.help) return options_of(texts);
    out << help_text;
    return ExitNow{0};
  } catch (const UsageError& error) {
    err << "verify: " << printable(error.text) << '\n';
    return ExitNow{2};
  }
}

unsigned process_cpu_count() noexcept {
  // The kernel refuses a set that is too small for its processors.
  for (std::size_t processors = 1024; processors <= 1U << 20U; processors *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set{CPU_ALLOC(processors),
                                                               [](cpu_set_t* s) { CPU_FREE(s); }};
    if (!set) break;
    const auto bytes = CPU_ALLOC_SIZE(processors);
    if (::sched_getaffinity(0, bytes, set.get()) == 0) {
      return static_cast<unsigned>(std::max(1, CPU_COUNT_S(bytes, set.get())));
    }
    if (errno != EINVAL) break;
  }
  return 1;
}

}  // namespace verify
