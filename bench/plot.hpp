// SPDX-License-Identifier: MIT
#pragma once
// Lines over two logarithmic axes, as SVG.

#include <string>
#include <vector>

namespace troupe::bench {

struct Series {
  struct Point {
    double x = 0;
    double y = 0;
  };
  std::string name{};
  std::vector<Point> points{};
  bool reference = false;  ///< drawn dashed
};

struct Chart {
  std::string title{};
  std::string x_label{};
  std::string y_label{};
  std::vector<double> x_ticks{};
  std::string (*x_text)(double) = nullptr;  ///< of a tick
  std::string (*y_text)(double) = nullptr;
  std::vector<Series> series{};
};

/// Readable on a light and on a dark page. Series without points are in neither picture nor legend.
[[nodiscard]] std::string svg(const Chart& chart);

}  // namespace troupe::bench
