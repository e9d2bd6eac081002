// SPDX-License-Identifier: MIT
// report <docs folder> [<plot>/<row>…]: measures every channel beside what others do, for payloads from 8 B
// to 1 MiB, and the fan-in of 1 to 64 senders. Writes the tables between the marks in benchmarks.md, and the
// plots beside it. If rows are named, only these are measured: the others stay as they stand there, if they
// do.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "channel_subject.hpp"
#include "lane_subject.hpp"
#include "peers.hpp"
#include "pipe_subject.hpp"
#include "plot.hpp"
#include "queue_subject.hpp"
#include "reference.hpp"
#include "zmq_subject.hpp"

namespace troupe::bench {
namespace {

using namespace std::string_literals;
using peers::figure;
using Measure = std::function<double(std::size_t x, std::size_t count)>;

/// The last is the largest frame of a channel: 1 MiB less its lane's frame header.
constexpr std::array<std::size_t, 6> sizes{8, 64, 512, 4096, 65536, 1048576 - 32};
constexpr std::array<std::size_t, 7> sender_counts{1, 2, 4, 8, 16, 32, 64};
constexpr const char* begin_mark = "<!-- report: begin -->";
constexpr const char* end_mark = "<!-- report: end -->";
constexpr const char* nothing = "–";
using Units = std::array<const char*, 4>;
constexpr Units rate_units{"", "k", "M", "G"};
constexpr Units time_units{"ns", "µs", "ms", "s"};

/// A row of a table, a line of a plot.
struct Row {
  std::string name;
  bool reference;
  Measure measure;
  std::size_t x_max = sizes.back();
};

/// What one table and one plot show.
struct Page {
  std::string file;
  Chart chart;
  std::vector<Row> rows;
  bool per_second;  ///< otherwise nanoseconds of one round
};

/// The median of three, each of so many that it takes long enough: what many senders do with a few messages
/// each says little of what they do with many.
double steady(const Row& row, std::size_t x, bool is_per_second) {
  constexpr std::size_t count_max = 1'000'000;
  constexpr double seconds_min = 0.1;
  constexpr double step_max = 16;
  std::size_t count = 100;  // at least one a sender
  std::vector<double> all;
  for (;;) {
    const double found = row.measure(x, count);
    const auto messages = static_cast<double>(count);
    const double seconds = is_per_second ? messages / found : messages * found / 1e9;
    all = {found};
    if (seconds >= seconds_min || count == count_max) break;
    count = std::min(
        count_max, static_cast<std::size_t>(messages * std::clamp(2 * seconds_min / seconds, 2.0, step_max)));
  }
  while (all.size() < 3) all.push_back(row.measure(x, count));
  return median(std::move(all));
}

Series measured(const Page& page, const Row& row) {
  Series series{row.name, {}, row.reference};
  for (const double x : page.chart.x_ticks) {
    if (x > static_cast<double>(row.x_max)) continue;
    series.points.push_back({x, steady(row, static_cast<std::size_t>(x), page.per_second)});
    std::fprintf(stderr, "%s, %s, %.0f: %.4g\n", page.chart.title.c_str(), row.name.c_str(), x,
                 series.points.back().y);
  }
  return series;
}

/// What short_text made: "6.9 M".
double value_of(const std::string& cell, const Units& units) {
  std::istringstream words{cell};
  double value = 0;
  std::string unit;
  words >> value >> unit;
  for (const char* known : units) {
    if (unit == known) return value;
    value *= 1e3;
  }
  throw std::runtime_error{"no figure: " + cell};
}

/// The figures of a row that stand in the old text; none if it has no such row.
std::optional<Series> written(const Page& page, const Row& row, const std::string& old) {
  const auto table = old.find("### " + page.chart.title + "\n");
  if (table == std::string::npos) return std::nullopt;
  const std::string begin = "\n| " + row.name + " |";
  const auto line = old.find(begin, table);
  if (line == std::string::npos || line > old.find("\n### ", table + 1)) return std::nullopt;
  const auto cells_at = line + begin.size();
  std::istringstream cells{old.substr(cells_at, old.find('\n', cells_at) - cells_at)};
  Series series{row.name, {}, row.reference};
  std::string cell;
  for (const double x : page.chart.x_ticks)
    if (std::getline(cells, cell, '|') && cell.find(nothing) == std::string::npos)
      series.points.push_back({x, value_of(cell, page.per_second ? rate_units : time_units)});
  return series;
}

std::string full_name(const Page& page, const Row& row) { return page.file + "/" + row.name; }

/// All rows, or those that are named.
void measure(Page& page, const std::vector<std::string>& names, const std::string& old) {
  for (const Row& row : page.rows) {
    if (names.empty() || std::ranges::find(names, full_name(page, row)) != names.end())
      page.chart.series.push_back(measured(page, row));
    else if (auto kept = written(page, row, old))
      page.chart.series.push_back(std::move(*kept));
  }
}

// ---- what is measured -------------------------------------------------------------------------------------

Measure peer(peers::Peer who, const char* measurement) {
  return [=](std::size_t bytes, std::size_t count) {
    return figure(who, {measurement, std::to_string(bytes), std::to_string(count)});
  };
}

/// Of at least a thousand messages a sender: until all are awake some time passes.
Measure fan_in_of(peers::Peer who, const char* measurement) {
  constexpr std::size_t each_min = 1000;
  return [=](std::size_t senders, std::size_t count) {
    return figure(who, {measurement, "64", std::to_string(std::max(count, each_min * senders)),
                        std::to_string(senders)});
  };
}

template <class Function>
Measure over(Function function, Carrier carrier) {
  return [=](std::size_t bytes, std::size_t count) { return function(carrier, bytes, count); };
}

template <class Function>
Measure over(Function function, zmq::Delivery delivery, const char* endpoint) {
  return [=](std::size_t bytes, std::size_t count) { return function(delivery, endpoint, bytes, count); };
}

/// One sender, one receiver; each put confirmed, or the last 64 not yet.
Measure zmq_queue(std::size_t unconfirmed_puts_max) {
  return [=](std::size_t bytes, std::size_t count) {
    return over_zmq::queue(1, 1, bytes, count, unconfirmed_puts_max);
  };
}

std::string bytes_text(double bytes) {
  constexpr double unit = 1024;
  const auto text = [](double value) { return std::to_string(std::lround(value)); };
  if (bytes > unit * unit / 2) return text(bytes / unit / unit) + " MiB";
  return bytes >= unit ? text(bytes / unit) + " KiB" : text(bytes) + " B";
}

std::string count_text(double count) { return std::to_string(static_cast<long>(count)); }

std::string short_text(double value, const Units& units) {
  std::size_t unit = 0;
  for (; value >= 1e3 && unit + 1 < units.size(); ++unit) value /= 1e3;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), value < 10 ? "%.2g %s" : "%.0f %s", value, units.at(unit));
  return text.data();
}
std::string rate_text(double value) { return short_text(value, rate_units); }
std::string time_text(double value) { return short_text(value, time_units); }

Chart by_payload(const char* title, const char* y_label, std::string (*y_text)(double)) {
  return {title, "payload", y_label, {sizes.begin(), sizes.end()}, bytes_text, y_text, {}};
}

std::vector<Page> pages() {
  using peers::Peer;
  using zmq::Delivery;
  constexpr std::size_t packet_bytes_max = 64 * 1024;
  constexpr std::size_t typed_bytes_max = 64 * 1024;  // of these sizes: the largest is a frame already
  constexpr std::size_t unconfirmed = 64;
  std::vector<Page> all;
  all.push_back(
      {"throughput",
       by_payload("One way between two processes", "messages/s", rate_text),
       {{"lane channel", false, over(channels::one_way, Carrier::shared_memory)},
        {"Pipe", false, pipes::one_way, typed_bytes_max},
        {"Queue", false, queues::one_way},
        {"OS pipe channel", false, over(channels::one_way, Carrier::pipe)},
        {"Unix stream channel", false, over(channels::one_way, Carrier::stream)},
        {"SEQPACKET channel", false, over(channels::one_way, Carrier::packet), packet_bytes_max},
        {"ZeroMQ channel", false, over(over_zmq::one_way, Delivery::at_least_once, over_zmq::ipc)},
        {"ZeroMQ channel, tcp", false, over(over_zmq::one_way, Delivery::at_least_once, over_zmq::tcp)},
        {"ZeroMQ channel, at most once", false,
         over(over_zmq::one_way, Delivery::at_most_once, over_zmq::ipc)},
        {"ZeroMQ Queue", false, zmq_queue(0)},
        {"ZeroMQ Queue, unconfirmed", false, zmq_queue(unconfirmed)},
        {"bare ring", true, bare::ring_one_way},
        {"bare pipe", true, bare::pipe_one_way},
        {"libzmq ipc", true, peer(Peer::zeromq, "one_way")},
        {"Python Queue", true, peer(Peer::python, "queue")},
        {"Python Pipe", true, peer(Peer::python, "pipe")}},
       true});
  all.push_back(
      {"latency",
       by_payload("Round trip between two processes, median", "time", time_text),
       {{"lane channel", false, over(channels::round_trip, Carrier::shared_memory)},
        {"Pipe", false, pipes::round_trip, typed_bytes_max},
        {"Queue and back", false, queues::round_trip},
        {"OS pipe channel", false, over(channels::round_trip, Carrier::pipe)},
        {"Unix stream channel", false, over(channels::round_trip, Carrier::stream)},
        {"SEQPACKET channel", false, over(channels::round_trip, Carrier::packet), packet_bytes_max},
        {"ZeroMQ channel", false, over(over_zmq::round_trip, Delivery::at_least_once, over_zmq::ipc)},
        {"ZeroMQ channel, tcp", false, over(over_zmq::round_trip, Delivery::at_least_once, over_zmq::tcp)},
        {"ZeroMQ channel, at most once", false,
         over(over_zmq::round_trip, Delivery::at_most_once, over_zmq::ipc)},
        {"bare ring", true, bare::ring_round_trip},
        {"bare pipe", true,
         [](std::size_t bytes, std::size_t rounds) {
           return bare::pipe_round_trip(bytes, rounds, Placement::across_cores, {});
         }},
        {"libzmq ipc", true, peer(Peer::zeromq, "round_trip")},
        {"Python Queue", true, peer(Peer::python, "queue_round_trip")},
        {"Python Pipe", true, peer(Peer::python, "pipe_round_trip")}},
       false});
  all.push_back(
      {"fan_in",
       {"Many senders, one receiver, 64 B",
        "senders",
        "messages/s, all together",
        {sender_counts.begin(), sender_counts.end()},
        count_text,
        rate_text,
        {}},
       {{"lanes", false, lanes::fan_in},
        {"Queue", false,
         [](std::size_t senders, std::size_t count) { return queues::throughput(senders, 1, count); }},
        {"ZeroMQ Queue", false,
         [](std::size_t senders, std::size_t count) { return over_zmq::queue(senders, 1, 64, count, 0); }},
        {"libzmq ipc", true, fan_in_of(Peer::zeromq, "one_way")},
        {"Erlang in one VM", true, fan_in_of(Peer::erlang, "one_way")},
        {"CAF in one process", true, fan_in_of(Peer::caf, "one_way")},
        {"Python Queue", true, fan_in_of(Peer::python, "queue")}},
       true});
  return all;
}

// ---- what is written --------------------------------------------------------------------------------------

std::string table(const Chart& chart) {
  std::string out = "| " + chart.x_label + " |";
  std::string rule = "|---|";
  for (const double x : chart.x_ticks) {
    out += " " + chart.x_text(x) + " |";
    rule += "---|";
  }
  out += "\n" + rule + "\n";
  for (const Series& series : chart.series) {
    out += "| " + series.name + " |";
    for (std::size_t i = 0; i < chart.x_ticks.size(); ++i)
      out += i < series.points.size() ? " " + chart.y_text(series.points[i].y) + " |" : " "s + nothing + " |";
    out += "\n";
  }
  return out;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file{path, std::ios::trunc};
  file << text;
  if (!file.flush()) throw std::runtime_error{"cannot write " + path.string()};
}

/// A page in three parts: the middle one stands between the marks.
struct Marked {
  std::string before;
  std::string between;
  std::string behind;
};

Marked read_marked(const std::filesystem::path& path) {
  std::stringstream old;
  old << std::ifstream{path}.rdbuf();
  const std::string page = old.str();
  const auto begin = page.find(begin_mark);
  const auto end = page.find(end_mark);
  if (begin == std::string::npos || end == std::string::npos || end < begin)
    throw std::runtime_error{path.string() + " does not have the marks of this report"};
  return {page.substr(0, begin), page.substr(begin, end - begin), page.substr(end)};
}

void check_names(const std::vector<Page>& all, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (std::ranges::none_of(all, [&](const Page& page) {
          return std::ranges::any_of(page.rows, [&](const Row& row) { return full_name(page, row) == name; });
        }))
      throw std::runtime_error{"no row is called " + name};
}

void report(const std::filesystem::path& docs, const std::vector<std::string>& names) {
  const std::filesystem::path path = docs / "benchmarks.md";
  const Marked old = read_marked(path);
  auto all = pages();
  check_names(all, names);
  std::string text;
  std::filesystem::create_directories(docs / "plots");
  for (Page& page : all) {
    measure(page, names, old.between);
    write(docs / "plots" / (page.file + ".svg"), svg(page.chart));
    text += "### " + page.chart.title + "\n\n![" + page.chart.title + "](plots/" + page.file + ".svg)\n\n" +
            table(page.chart) + "\n";
  }
  write(path, old.before + begin_mark + "\n" + text + old.behind);
}

}  // namespace
}  // namespace troupe::bench

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "report: where to?\n  try: report docs\n";
    return 2;
  }
  try {
    troupe::bench::report(argv[1], {argv + 2, argv + argc});
  } catch (const std::exception& failure) {
    std::cerr << "report: " << failure.what() << '\n';
    return 1;
  }
}
