// expect: troupe: other languages have no such type
// SPDX-License-Identifier: MIT
#include <troupe/foreign/endpoint.hpp>
#include <troupe/transport/blob.hpp>

struct Picture {
  struct Pixels {
    troupe::Blob bytes{};
  };
  using reply = Pixels;
};
struct Actor {
  using accepts = troupe::messages<Picture>;
  Picture::Pixels on(const Picture&);
};

void expose(troupe::foreign::Endpoint& endpoint, const troupe::Ref<Actor>& actor) {
  static_cast<void>(endpoint.expose<Picture>("actor", actor));
}
