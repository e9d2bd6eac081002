// expect: troupe: other languages have no such type
// SPDX-License-Identifier: MIT
#include <troupe/foreign/endpoint.hpp>

struct Command {
  std::variant<int, std::string> what{};
};
struct Actor {
  using accepts = troupe::messages<Command>;
  void on(const Command&);
};

void expose(troupe::foreign::Endpoint& endpoint, const troupe::Ref<Actor>& actor) {
  static_cast<void>(endpoint.expose<Command>("actor", actor));
}
