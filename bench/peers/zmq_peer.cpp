// SPDX-License-Identifier: MIT
// What bare libzmq does over ipc: zmq_peer <measurement> <bytes> <count> [<senders> <receivers>]
// Prints one figure: messages a second by PUSH and PULL, or the median nanoseconds of a PAIR's round trip.
// Every process makes its own context; nobody is kept on a core, since each context has a thread of its own.
#include <zmq.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string_view>

#include "machine.hpp"

namespace troupe::bench {
namespace {

/// A socket and its context, and the address in Linux's abstract names: nothing is left in the file system.
class Socket {
 public:
  explicit Socket(int type) : context_{::zmq_ctx_new()}, socket_{::zmq_socket(context_, type)} {
    if (socket_ == nullptr) throw std::runtime_error{"zmq_socket"};
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    ::zmq_close(socket_);
    ::zmq_ctx_term(context_);
  }
  void bind(const std::string& name) { checked(::zmq_bind(socket_, name.c_str()), "zmq_bind"); }
  void connect(const std::string& name) { checked(::zmq_connect(socket_, name.c_str()), "zmq_connect"); }
  void send(const std::vector<std::byte>& bytes) {
    checked(::zmq_send(socket_, bytes.data(), bytes.size(), 0), "zmq_send");
  }
  void receive(std::vector<std::byte>& bytes) {
    checked(::zmq_recv(socket_, bytes.data(), bytes.size(), 0), "zmq_recv");
  }

 private:
  void* context_;
  void* socket_;
};

std::string address(const char* role, std::size_t number) {
  return "ipc://@troupe-bench-" + std::to_string(::getpid()) + "-" + role + std::to_string(number);
}

/// `senders` children push as fast as they can, `receivers` children count what they pull.
double one_way(std::size_t bytes, std::size_t count, std::size_t senders, std::size_t receivers) {
  const std::size_t each = count / senders;
  const SharedBytes shared{(receivers + 1) * lines_apart};
  const auto word = [&](std::size_t i) {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(shared.data() + i * lines_apart);
  };
  std::vector<std::string> names;
  for (std::size_t i = 0; i < receivers; ++i) names.push_back(address("sink", i));
  std::vector<std::unique_ptr<Peer>> peers;
  for (std::size_t i = 0; i < receivers; ++i)
    peers.push_back(std::make_unique<Peer>(any_core, [&, i] {
      Socket pull{ZMQ_PULL};
      pull.bind(names[i]);
      std::vector<std::byte> buffer(bytes);
      for (std::uint64_t got = 0;; word(i)->store(++got, std::memory_order_release)) pull.receive(buffer);
    }));
  for (std::size_t i = 0; i < senders; ++i)
    peers.push_back(std::make_unique<Peer>(any_core, [&] {
      Socket push{ZMQ_PUSH};
      for (const auto& name : names) push.connect(name);
      const std::vector<std::byte> buffer(bytes);
      push.send(buffer);
      for (word(receivers)->fetch_add(1); word(receivers)->load() <= senders;) ::usleep(100);
      for (std::size_t k = 0; k < each; ++k) push.send(buffer);
      for (;;) ::pause();
    }));
  const auto received = [&] {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < receivers; ++i) sum += word(i)->load(std::memory_order_acquire);
    return sum;
  };
  while (received() < senders || word(receivers)->load() < senders) ::usleep(100);
  const std::int64_t before = now_ns();
  word(receivers)->fetch_add(1);
  while (received() < senders + each * senders) ::usleep(100);
  return per_second(each * senders, before);
}

double round_trip(std::size_t bytes, std::size_t rounds) {
  const std::string name = address("echo", 0);
  Peer echo{any_core, [&] {
              Socket pair{ZMQ_PAIR};
              pair.bind(name);
              std::vector<std::byte> buffer(bytes);
              for (;;) {
                pair.receive(buffer);
                pair.send(buffer);
              }
            }};
  Socket pair{ZMQ_PAIR};
  pair.connect(name);
  std::vector<std::byte> buffer(bytes);
  return median_round(rounds, {}, [&] {
    pair.send(buffer);
    pair.receive(buffer);
  });
}

std::size_t number(const char* text) { return std::strtoull(text, nullptr, 10); }

}  // namespace
}  // namespace troupe::bench

int main(int argc, char** argv) {
  using namespace troupe::bench;
  if (argc < 4) return 2;
  const std::size_t bytes = number(argv[2]);
  const std::size_t count = number(argv[3]);
  const bool is_one_way = std::string_view{argv[1]} == "one_way";
  std::printf("%.3f\n", is_one_way ? one_way(bytes, count, argc > 4 ? number(argv[4]) : 1,
                                             argc > 5 ? number(argv[5]) : 1)
                                   : round_trip(bytes, count));
}
