// SPDX-License-Identifier: MIT
#include "peers.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

namespace troupe::bench::peers {
namespace {

std::string command(Peer peer) {
  const std::string scripts = TROUPE_BENCH_PEERS_DIR;
  const std::string programs = TROUPE_BENCH_PROGRAMS_DIR;
  switch (peer) {
    case Peer::zeromq: return programs + "/zmq_peer";
    case Peer::caf: return programs + "/caf_peer";
    case Peer::erlang: return "escript " + scripts + "/erlang_peer.escript";
    case Peer::python: return "/usr/bin/python3 " + scripts + "/python_peer.py";
  }
  std::abort();
}

struct Close {
  void operator()(std::FILE* file) const noexcept { ::pclose(file); }
};

}  // namespace

double figure(Peer peer, const std::vector<std::string>& arguments) {
  constexpr const char* limit = "timeout 120 ";
  std::string line = limit + command(peer);
  for (const std::string& argument : arguments) line += " " + argument;
  std::unique_ptr<std::FILE, Close> output{::popen(line.c_str(), "re")};
  std::array<char, 256> text{};
  const bool answered =
      output && std::fgets(text.data(), static_cast<int>(text.size()), output.get()) != nullptr;
  const double result = answered ? std::strtod(text.data(), nullptr) : 0;
  if (result > 0) return result;
  throw std::runtime_error{"no figure from `" + line +
                           "`; try sh scripts/install-packages scripts/apt-packages-bench.txt"};
}

}  // namespace troupe::bench::peers
