// SPDX-License-Identifier: MIT
#include "report.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string_view>
#include <utility>

#include "view.hpp"

namespace verify {
namespace {

std::string decimal(double number, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, std::isfinite(number) ? number : 0.0);
  return text.data();
}

std::string seconds_text(double seconds) { return decimal(seconds, 1) + " s"; }

double seconds_of(std::chrono::nanoseconds time) { return std::chrono::duration<double>{time}.count(); }

// "1 death", "2 deaths"
std::string counted(std::uint64_t count, std::string_view thing) {
  return grouped(count) + " " + std::string{thing} + (count == 1 ? "" : "s");
}

std::uint64_t deaths_of(const Outcome& outcome, DeathKind kind) {
  return static_cast<std::uint64_t>(std::count_if(outcome.deaths.begin(), outcome.deaths.end(),
                                                  [kind](const Death& death) { return death.kind == kind; }));
}

std::string judgement_text(const Outcome& outcome) {
  const auto& judgement = *outcome.judgement;
  const auto spent =
      "(" + seconds_text(seconds_of(judgement.took)) + " alone, " +
      seconds_text(outcome.seconds / static_cast<double>(std::max<std::uint64_t>(outcome.passes, 1))) +
      (outcome.passes > 1 ? " a pass here)" : " here)");
  return (judgement.agrees() ? "md5sum -c agrees on every one "
                             : "md5sum -c disagrees on " + grouped(judgement.disagreeing) + " of " +
                                   grouped(judgement.compared) + " ") +
         spent;
}

// `role` without the number behind its slash: hasher/3 is a hasher.
std::string kind_of_role(const std::string& role) { return role.substr(0, role.find('/')); }

std::string death_lines(const std::vector<Death>& deaths) {
  std::string text;
  if (deaths.size() <= shown_max) {
    for (const auto& death : deaths) {
      text += "  " + printable(death.role) + " pid " + std::to_string(death.pid) + ": " +
              printable(death.reason) + "\n";
    }
    return text;
  }
  std::map<std::pair<std::string, std::string>, std::uint64_t> causes;
  for (const auto& death : deaths) ++causes[{kind_of_role(death.role), death.reason}];
  std::size_t shown = 0;
  for (const auto& [cause, count] : causes) {
    if (shown++ == shown_max)
      return text + "  ... and " + grouped(causes.size() - shown_max) + " more causes\n";
    text += "  " + grouped(count) + " x " + printable(cause.first) + ": " + printable(cause.second) + "\n";
  }
  return text;
}

std::string path_lines(std::string_view title, const std::vector<std::string>& paths) {
  if (paths.empty()) return {};
  auto text = std::string{title} + "\n";
  for (std::size_t i = 0; i < std::min(paths.size(), shown_max); ++i)
    text += "  " + printable(paths[i]) + "\n";
  if (paths.size() > shown_max) text += "  ... and " + grouped(paths.size() - shown_max) + " more\n";
  return text;
}

std::string_view verdict_text(const std::optional<Verdict>& verdict) {
  return verdict ? to_string(*verdict) : std::string_view{"lost"};
}

std::string judgement_lines(const Judgement& judgement) {
  std::string text;
  if (judgement.not_judged > 0) {
    text += "not put to md5sum, which could wait for ever: " + grouped(judgement.not_judged) +
            " (fifos, devices)\n";
  }
  if (judgement.agrees()) return text;
  text += "md5sum -c disagrees\n";
  for (const auto& difference : judgement.disagreements) {
    text += "  " + printable(difference.path) + ": " + std::string{verdict_text(difference.ours)} +
            " here, " + std::string{to_string(difference.theirs)} + " there\n";
  }
  const auto more = judgement.disagreeing - judgement.disagreements.size();
  return more > 0 ? text + "  ... and " + grouped(more) + " more\n" : text;
}

std::string json_string(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string quoted = "\"";
  const auto escape = [&](std::string_view prefix, unsigned char byte) {
    quoted.append(prefix).push_back(hex[byte >> 4U]);
    quoted.push_back(hex[byte & 0xfU]);
  };
  while (!text.empty()) {
    const auto length = utf8_length(text);
    const auto first = static_cast<unsigned char>(text.front());
    if (length == 0) {
      escape("\\udc", first);
    } else if (first < 0x20 || first == 0x7f) {
      escape("\\u00", first);
    } else if (first == '"' || first == '\\') {
      quoted.append("\\").push_back(text.front());
    } else {
      quoted.append(text.substr(0, length));
    }
    text.remove_prefix(std::max<std::size_t>(1, length));
  }
  return quoted + "\"";
}

template <class Range, class ToJson>
std::string json_array(const Range& range, ToJson to_json) {
  std::string text = "[";
  for (const auto& element : range) text.append(text.size() > 1 ? ", " : "").append(to_json(element));
  return text + "]";
}

std::string json_death(const Death& death) {
  return "{\"role\":" + json_string(death.role) + ", \"pid\":" + std::to_string(death.pid) +
         ", \"reason\":" + json_string(death.reason) + "}";
}

}  // namespace

int exit_code(const Outcome& outcome) noexcept {
  if (outcome.failure || outcome.lost > 0 || outcome.counted_twice > 0) return 1;
  if (outcome.files == 0) return 1;
  if (outcome.judgement) return outcome.judgement->agrees() ? 0 : 3;
  const bool all_matched = outcome.differing.empty() && outcome.missing.empty() && outcome.unreadable.empty();
  return all_matched && outcome.malformed.empty() ? 0 : 3;
}

std::string headline(const Outcome& outcome) {
  if (outcome.failure) return "the job failed: " + printable(*outcome.failure);
  auto text = counted(outcome.verdicts, "verdict") + ", " + counted(outcome.deaths.size(), "death") + ", " +
              grouped(outcome.lost) + " lost";
  if (outcome.counted_twice > 0) text += ", " + grouped(outcome.counted_twice) + " counted twice";
  return outcome.judgement ? text + "; " + judgement_text(outcome) : text;
}

std::string card(const Outcome& outcome) {
  const auto passes =
      outcome.passes > 1 ? " in each of " + grouped(outcome.passes) + " passes" : std::string{};
  auto text = headline(outcome) + "\n\n";
  text += counted(outcome.files, "file") + passes + ", " + bytes_text(static_cast<double>(outcome.bytes)) +
          ", " + seconds_text(outcome.seconds) + "\n";
  text += "ok " + grouped(outcome.ok) + ", differing " + grouped(outcome.differing.size()) + ", missing " +
          grouped(outcome.missing.size()) + ", unreadable " + grouped(outcome.unreadable.size()) + "\n";
  text += "actors killed " + grouped(deaths_of(outcome, DeathKind::killed)) + ", hung " +
          grouped(deaths_of(outcome, DeathKind::hung)) + ", crashed " +
          grouped(deaths_of(outcome, DeathKind::crashed)) + "\n";
  text += "lost " + grouped(outcome.lost) + ", counted twice " + grouped(outcome.counted_twice) +
          ", redone " + grouped(outcome.redone) + " (duplicates dropped " +
          grouped(outcome.dropped_duplicates) + ")\n";
  if (outcome.judgement) text += judgement_lines(*outcome.judgement);
  if (!outcome.deaths.empty()) text += "deaths\n" + death_lines(outcome.deaths);
  text += malformed_lines(outcome);
  return text + path_lines("differing", outcome.differing);
}

std::string malformed_lines(const Outcome& outcome) {
  std::vector<std::string> places;
  places.reserve(outcome.malformed.size());
  for (const auto& line : outcome.malformed)
    places.push_back(line.manifest + ":" + std::to_string(line.line));
  return path_lines("malformed lines: not in md5sum's format; try to write the list anew with md5sum",
                    places);
}

std::string json(const Outcome& outcome) {
  const auto number = [](std::uint64_t value) { return std::to_string(value); };
  return "{\"files\":" + number(outcome.files) + ", \"bytes\":" + number(outcome.bytes) +
         ", \"seconds\":" + decimal(outcome.seconds, 3) + ", \"ok\":" + number(outcome.ok) +
         ", \"differing\":" + json_array(outcome.differing, json_string) +
         ", \"missing\":" + json_array(outcome.missing, json_string) +
         ", \"unreadable\":" + json_array(outcome.unreadable, json_string) +
         ", \"lost\":" + number(outcome.lost) + ", \"double\":" + number(outcome.counted_twice) +
         ", \"redone\":" + number(outcome.redone) +
         ", \"dropped_duplicates\":" + number(outcome.dropped_duplicates) +
         ", \"deaths\":" + json_array(outcome.deaths, json_death) + "}\n";
}

}  // namespace verify
