// SPDX-License-Identifier: MIT
#include <troupe/runtime/log.hpp>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <troupe/runtime/child_main.hpp>
#include <troupe/runtime/init.hpp>

namespace troupe {
namespace {

std::string own_name() {
  if (const control::Start* const start = detail::own_start()) return std::string{start->name.view()};
  const std::string_view program = detail::program_name();
  return std::string{program.substr(program.rfind('/') + 1)};
}

spdlog::logger& logger() {
  static const std::unique_ptr<spdlog::logger> instance = [] {
    auto made =
        std::make_unique<spdlog::logger>(own_name(), std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%H:%M:%S.%e %l %n (%P): %v");
    made->set_level(std::getenv("TROUPE_DEBUG") != nullptr ? spdlog::level::debug : spdlog::level::info);
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
  }
  std::abort();
}

}  // namespace

void log(LogLevel level, std::string_view text) {
  logger().log(spdlog_level(level), spdlog::string_view_t{text.data(), text.size()});
}

}  // namespace troupe
