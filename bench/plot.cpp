// SPDX-License-Identifier: MIT
#include "plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace troupe::bench {
namespace {

constexpr double width = 890;
constexpr double height = 460;
constexpr double left = 76;
constexpr double right = 640;  // the legend is beside it
constexpr double top = 44;
constexpr double bottom = 404;

/// Okabe and Ito's colours, told apart by most eyes and on both grounds, and some of their own kind.
constexpr std::array<const char*, 13> colours{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00",
                                              "#56B4E9", "#8C6BB1", "#DC267F", "#808080", "#A6761D",
                                              "#7F3C8D", "#8C564B", "#44AA99"};

constexpr const char* style = R"(<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.ground { fill: #ffffff }
.grid { stroke: #d8dee4 }
.frame { stroke: #8c959f; fill: none }
.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .ground { fill: #0d1117 }
  .grid { stroke: #30363d }
  .frame { stroke: #6e7681 }
}
</style>
)";

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

/// One axis: values on a logarithmic scale to places in the picture.
struct Axis {
  double min = 0;
  double max = 0;
  double first = 0;
  double last = 0;
  [[nodiscard]] double operator()(double value) const {
    return first + (last - first) * std::log(value / min) / std::log(max / min);
  }
};

Axis y_axis(const std::vector<Series>& all) {
  double min = INFINITY;
  double max = 0;
  for (const Series& series : all)
    for (const auto& point : series.points) {
      min = std::min(min, point.y);
      max = std::max(max, point.y);
    }
  return {std::pow(10, std::floor(std::log10(min))), std::pow(10, std::ceil(std::log10(max))), bottom, top};
}

std::string line(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" +
         number(y2) + "\" " + attributes + "/>\n";
}

std::string text(double x, double y, const std::string& what, const std::string& attributes = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + attributes + ">" + what + "</text>\n";
}

std::string stroke_of(const Series& series, std::size_t index) {
  return std::string{"class=\"line\" stroke=\""} + colours.at(index % colours.size()) + "\"" +
         (series.reference ? " stroke-dasharray=\"5 4\"" : "");
}

std::string grid(const Chart& chart, const Axis& x, const Axis& y) {
  std::string out;
  for (const double tick : chart.x_ticks) {
    out += line(x(tick), top, x(tick), bottom, "class=\"grid\"");
    out += text(x(tick), bottom + 18, chart.x_text(tick), "text-anchor=\"middle\"");
  }
  for (double tick = y.min; tick <= y.max * 1.01; tick *= 10) {
    out += line(left, y(tick), right, y(tick), "class=\"grid\"");
    out += text(left - 8, y(tick) + 4, chart.y_text(tick), "text-anchor=\"end\"");
  }
  return out + "<rect x=\"" + number(left) + "\" y=\"" + number(top) + "\" width=\"" + number(right - left) +
         "\" height=\"" + number(bottom - top) + "\" class=\"frame\"/>\n";
}

std::string labels(const Chart& chart) {
  return text(left, top - 18, chart.title, "class=\"title\"") +
         text((left + right) / 2, height - 14, chart.x_label, "text-anchor=\"middle\"") +
         text(0, 0, chart.y_label,
              "text-anchor=\"middle\" transform=\"translate(18 " + number((top + bottom) / 2) +
                  ") rotate(-90)\"");
}

std::string curve(const Series& series, std::size_t index, const Axis& x, const Axis& y) {
  std::string points;
  std::string dots;
  for (const auto& point : series.points) {
    points += number(x(point.x)) + "," + number(y(point.y)) + " ";
    dots += "<circle cx=\"" + number(x(point.x)) + "\" cy=\"" + number(y(point.y)) + "\" r=\"3\" fill=\"" +
            colours.at(index % colours.size()) + "\"/>\n";
  }
  return "<polyline points=\"" + points + "\" " + stroke_of(series, index) + "/>\n" + dots;
}

std::string legend_entry(const Series& series, std::size_t index, std::size_t row) {
  constexpr double row_height = 24;
  const double y = top + 12 + static_cast<double>(row) * row_height;
  return line(right + 18, y, right + 48, y, stroke_of(series, index)) + text(right + 56, y + 4, series.name);
}

}  // namespace

std::string svg(const Chart& chart) {
  const Axis x{chart.x_ticks.front(), chart.x_ticks.back(), left, right};
  const Axis y = y_axis(chart.series);
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) + "\" height=\"" +
                    number(height) + "\" viewBox=\"0 0 " + number(width) + " " + number(height) + "\">\n" +
                    style + "<rect width=\"100%\" height=\"100%\" class=\"ground\"/>\n" + grid(chart, x, y) +
                    labels(chart);
  std::size_t row = 0;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    if (chart.series[i].points.empty()) continue;
    out += curve(chart.series[i], i, x, y) + legend_entry(chart.series[i], i, row++);
  }
  return out + "</svg>\n";
}

}  // namespace troupe::bench
