// SPDX-License-Identifier: MIT
// The contract of docs/foreign.md, rule by rule, as a client sees it.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <thread>
#include <troupe/foreign/endpoint.hpp>
#include <zmq.hpp>

#include "actor_test.hpp"
#include "transport/stepper.hpp"
#include "values.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;
using namespace std::literals;
using foreign::Encoding;
using foreign::Endpoint;
using foreign::EndpointCounts;
using foreign::Value;

struct Add {
  int amount = 0;
};
struct Total {
  using reply = std::int64_t;
};
struct Echo {
  struct Echoed {
    std::string text{};
    std::vector<double> numbers{};
  };
  using reply = Echoed;
  std::string text{};
  std::vector<double> numbers{};
};
struct Hold {
  using reply = int;
};
struct Fail {
  using reply = int;
  std::string why{};
};
struct Throw {
  using reply = int;
};
struct Say {
  using reply = std::string;
};

struct Shout {
  using reply = std::string;
  std::uint32_t bytes = 0;
};

struct Counter {
  using accepts = messages<Add, Total, Echo, Hold, Fail, Throw, Say, Shout>;
  std::string inbox{};
  std::string gate{};
  std::int64_t total = 0;
  void on(const Add& m) { total += m.amount; }
  std::int64_t on(const Total&) { return total; }
  Echo::Echoed on(const Echo& m) { return {m.text, m.numbers}; }
  int on(const Hold&) {
    say(inbox, std::to_string(::getpid()));
    pass(gate);
    return 1;
  }
  Result<int> on(const Fail& m) { return failure(ErrorKind::refused, m.why); }
  int on(const Throw&) { throw std::runtime_error{"no"}; }
  std::string on(const Say&) { return "\xff"; }
  std::string on(const Shout& m) { return std::string(m.bytes, 'a'); }
};

struct Job {
  std::string name{};
  int priority = 0;
};

/// A program in another language, as ZeroMQ shows it to the endpoint.
class Client {
 public:
  Client(::zmq::context_t& context, const std::string& address,
         ::zmq::socket_type type = ::zmq::socket_type::dealer)
      : socket_{context, type} {
    socket_.set(::zmq::sockopt::linger, 0);
    socket_.connect(address);
  }
  Client(::zmq::context_t& context, const zmq::Keys& keys, const std::string& server_key,
         const std::string& address)
      : socket_{context, ::zmq::socket_type::dealer} {
    socket_.set(::zmq::sockopt::linger, 0);
    socket_.set(::zmq::sockopt::curve_secretkey, keys.secret_key);
    socket_.set(::zmq::sockopt::curve_publickey, keys.public_key);
    socket_.set(::zmq::sockopt::curve_serverkey, server_key);
    socket_.connect(address);
  }
  void send(std::string_view bytes) { socket_.send(::zmq::buffer(bytes)); }
  void send_frames(const std::vector<std::string>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i)
      socket_.send(::zmq::buffer(frames[i]),
                   i + 1 < frames.size() ? ::zmq::send_flags::sndmore : ::zmq::send_flags::none);
  }
  ::zmq::socket_t& socket() { return socket_; }
  std::optional<std::string> receive_now() {
    ::zmq::message_t message;
    if (!socket_.recv(message, ::zmq::recv_flags::dontwait)) return std::nullopt;
    return message.to_string();
  }

 private:
  ::zmq::socket_t socket_;
};

zmq::Keys new_keys() {
  constexpr std::size_t characters = 40;
  std::array<char, characters + 1> open{};
  std::array<char, characters + 1> secret{};
  EXPECT_EQ(::zmq_curve_keypair(open.data(), secret.data()), 0);
  return {open.data(), secret.data()};
}

class ForeignEndpoint : public ActorTest {
 protected:
  ForeignEndpoint() {
    counter = spawn("counter");
    EXPECT_TRUE((endpoint.expose<Add, Total, Echo, Hold, Fail, Throw, Say, Shout>("counter", counter)));
  }
  Ref<Counter> spawn(std::string_view name, ChildOptions options = {.backoff = at_once}) {
    return node.spawn<Counter>(name, options, inbox.path(), gate.path()).value();
  }
  /// Serves until the client has a message; what it says.
  std::string reply(Client& to) {
    const TimePoint deadline = deadline_in(patience);
    const int fd = to.socket().get(::zmq::sockopt::fd);
    for (;;) {
      if (auto said = to.receive_now()) return *said;
      if (Clock::now() >= deadline) return "nothing";
      auto ready = select({endpoint.readable(), {fd, {}}}, 100ms);
      if (!ready && ready.error().kind != ErrorKind::timed_out) return ready.error().text;
      if (auto served = endpoint.serve(0s); !served) return served.error().text;
    }
  }
  std::string ask(std::string_view request) {
    client.send(request);
    return reply(client);
  }
  /// Serves until an actor has a Hold in hand.
  void wait_until_held() {
    const TimePoint deadline = deadline_in(patience);
    while (!inbox.next(0ns) && Clock::now() < deadline) ASSERT_TRUE(endpoint.serve(5ms));
  }
  /// "kind: text" of the error that a request meets.
  std::string error(std::string_view request) { return error_in(ask(request)); }
  static std::string error_in(const std::string& reply) {
    const Value value = from_json(reply).value();
    const Value* const error = value.member("error");
    if (error == nullptr) return "no error: " + reply;
    return *error->member("kind")->as<std::string>() + ": " + *error->member("text")->as<std::string>();
  }

  ::zmq::context_t context{1};
  Endpoint endpoint = Endpoint::create().value();
  Client client{context, endpoint.address()};
  Ref<Counter> counter{};
};

// ---- what a request brings --------------------------------------------------------------------------------

TEST_F(ForeignEndpoint, SendsAMessageThatNamesNoReply) {
  EXPECT_EQ(ask(R"({"id":"1","to":"counter","type":"Add","body":{"amount":5}})"), R"({"id":"1","ok":true})");
  EXPECT_EQ(counter.ask(Total{}, patience).value(), 5);
}

TEST_F(ForeignEndpoint, AsksAMessageThatNamesItsReply) {
  counter.send(Add{7});
  EXPECT_EQ(ask(R"({"id":"a b","to":"counter","type":"Total"})"), R"({"id":"a b","ok":true,"value":7})");
  EXPECT_EQ(ask(R"({"id":"é","to":"counter","type":"Echo","body":{"text":"ä","numbers":[1,2.5]}})"),
            R"({"id":"é","ok":true,"value":{"numbers":[1.0,2.5],"text":"ä"}})");
}

TEST_F(ForeignEndpoint, AnswersMsgpackInMsgpack) {
  const auto request =
      foreign::print(from_json(R"({"id":"1","to":"counter","type":"Total"})").value(), Encoding::msgpack);
  const std::string answer = ask(text_of(request));
  EXPECT_EQ(to_json(from_msgpack(answer).value()), R"({"id":"1","ok":true,"value":0})");
  const auto wrong =
      foreign::print(from_json(R"({"id":"2","to":"nobody","type":"Total"})").value(), Encoding::msgpack);
  const Value refused = from_msgpack(ask(text_of(wrong))).value();
  EXPECT_EQ(*refused.member("error")->member("kind")->as<std::string>(), "refused");
}

TEST_F(ForeignEndpoint, IgnoresMembersItDoesNotKnow) {
  EXPECT_EQ(
      ask(R"({"trace":[1],"id":"1","to":"counter","type":"Add","body":{"amount":1,"unit":"m"},"version":1})"),
      R"({"id":"1","ok":true})");
}

TEST_F(ForeignEndpoint, ServesRequestSocketsAsWell) {
  Client strict{context, endpoint.address(), ::zmq::socket_type::req};
  for (int i = 0; i < 3; ++i) {
    strict.send(R"({"id":"1","to":"counter","type":"Total"})");
    EXPECT_EQ(reply(strict), R"({"id":"1","ok":true,"value":0})");
  }
  strict.send("nonsense");
  EXPECT_EQ(error_in(reply(strict)).substr(0, 9), "malformed");
}

TEST_F(ForeignEndpoint, KeepsTheOrderOfAClientsRequestsToAnActor) {
  for (int i = 1; i <= 100; ++i) {
    client.send(R"({"id":"a","to":"counter","type":"Add","body":{"amount":1}})");
    client.send(R"({"id":")" + std::to_string(i) + R"(","to":"counter","type":"Total"})");
  }
  for (int i = 1; i <= 100;) {
    const std::string said = reply(client);
    if (said == R"({"id":"a","ok":true})") continue;
    ASSERT_EQ(said, R"({"id":")" + std::to_string(i) + R"(","ok":true,"value":)" + std::to_string(i) + "}");
    ++i;
  }
}

TEST_F(ForeignEndpoint, ServesManyClients) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(std::make_unique<Client>(context, endpoint.address()));
  for (auto& one : clients) one->send(R"({"id":"same","to":"counter","type":"Add","body":{"amount":1}})");
  for (auto& one : clients) EXPECT_EQ(reply(*one), R"({"id":"same","ok":true})");
  EXPECT_EQ(counter.ask(Total{}, patience).value(), 20);
}

TEST_F(ForeignEndpoint, ListensAtAnIpcAddressToo) {
  auto local = Endpoint::create({.address = "ipc://*"}).value();
  EXPECT_TRUE((local.expose<Total>("counter", counter)));
  Client near{context, local.address()};
  near.send(R"({"id":"1","to":"counter","type":"Total"})");
  const TimePoint deadline = deadline_in(patience);
  std::optional<std::string> said;
  while (!said && Clock::now() < deadline) {
    local.serve(10ms).value();
    said = near.receive_now();
  }
  EXPECT_EQ(said, R"({"id":"1","ok":true,"value":0})");
}

TEST_F(ForeignEndpoint, SaysWhyItCannotListen) {
  EXPECT_EQ(Endpoint::create({.address = endpoint.address()}).error().kind, ErrorKind::system);
  EXPECT_FALSE(Endpoint::create({.address = "nonsense"}));
}

TEST_F(ForeignEndpoint, ListensWhereOtherMachinesComeOnlyWithKeys) {
  EXPECT_EQ(Endpoint::create({.address = "tcp://0.0.0.0:*"}).error().kind, ErrorKind::refused);
}

TEST_F(ForeignEndpoint, AdmitsTheKeysItKnowsAndNoOthers) {
  const auto own = new_keys();
  const auto known = new_keys();
  const auto stranger = new_keys();
  auto guarded = Endpoint::create({.security = {.own = own, .allowed = {known.public_key}}}).value();
  guarded.expose<Total>("counter", counter).value();
  const auto asks = [&](const zmq::Keys& keys, Duration within) {
    Client far{context, keys, own.public_key, guarded.address()};
    far.send(R"({"id":"1","to":"counter","type":"Total"})");
    const TimePoint deadline = deadline_in(within);
    std::optional<std::string> said;
    while (!said && Clock::now() < deadline) {
      guarded.serve(5ms).value();
      said = far.receive_now();
    }
    return said.value_or("nothing");
  };
  EXPECT_EQ(asks(stranger, 200ms), "nothing");
  EXPECT_EQ(asks(known, patience), R"({"id":"1","ok":true,"value":0})");
  EXPECT_EQ(guarded.counts().requests, 1U);
}

/// Of this process, in KiB.
long resident() { return std::stol(status_line(::getpid(), "VmRSS")); }

TEST_F(ForeignEndpoint, AFloodIsAnsweredFullAndMemoryStaysBounded) {
  auto small = Endpoint::create({.limits = {.message_bytes_max = 1000}}).value();
  small.expose<Add>("counter", counter).value();
  Client far{context, small.address()};
  constexpr int requests = 20'000;      // 17 MB, of which 64,000 bytes may wait until the endpoint is served
  constexpr int under_way_max = 500;    // few enough that each reply finds room on its way
  constexpr long growth_max = 8 << 10;  // KiB
  const std::string padding(800, ' ');
  int done = 0;
  int full = 0;
  const auto collect = [&] {
    while (auto said = far.receive_now()) ++(said->find("full") == std::string::npos ? done : full);
  };
  const TimePoint deadline = deadline_in(3 * patience);
  const long before = resident();
  for (int sent = 0; sent < requests; ++sent) {
    while (sent - done - full >= under_way_max && Clock::now() < deadline) collect();
    far.send(R"({"id":"1","to":"counter","type":"Add","body":{"amount":1}})" + padding);
  }
  if (can_step()) {  // a sanitizer keeps what was freed
    EXPECT_LT(resident() - before, growth_max);
  }
  while (done + full < requests && Clock::now() < deadline) {
    small.serve(1ms).value();
    collect();
  }
  EXPECT_EQ(done + full, requests);
  EXPECT_GE(done, 60);
  EXPECT_EQ(small.counts().full, static_cast<std::uint64_t>(full));
  EXPECT_EQ(small.counts().undelivered, 0U);
  EXPECT_EQ(counter.ask(Total{}, patience).value(), done);
}

TEST_F(ForeignEndpoint, IsRefusedInAPlainForksChild) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(endpoint.serve(0s).error().kind == ErrorKind::refused ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(ask(R"({"id":"1","to":"counter","type":"Total"})"), R"({"id":"1","ok":true,"value":0})");
}

TEST_F(ForeignEndpoint, TakesEachNameAndEachActorOnce) {
  const auto other = node.ref<Counter>("other");
  EXPECT_EQ(endpoint.expose<Add>("counter", other).error().kind, ErrorKind::invalid);
  EXPECT_EQ(endpoint.expose<Add>("again", counter).error().kind, ErrorKind::invalid);
  EXPECT_EQ(endpoint.expose<Add>("", other).error().kind, ErrorKind::invalid);
  EXPECT_EQ(endpoint.expose<Add>(std::string(129, 'x'), other).error().kind, ErrorKind::invalid);
  EXPECT_EQ(endpoint.expose<Add>("\xff", other).error().kind, ErrorKind::invalid);
}

// ---- queues
// ------------------------------------------------------------------------------------------------

TEST_F(ForeignEndpoint, PutsMessagesIntoAQueue) {
  std::vector<Job> jobs;
  endpoint
      .expose<Job>("jobs",
                   [&](const Job& job) -> Result<void> {
                     if (job.priority < 0) return failure(ErrorKind::full, "queue: no room");
                     jobs.push_back(job);
                     return {};
                   })
      .value();
  EXPECT_EQ(ask(R"({"id":"1","to":"jobs","type":"Job","body":{"name":"a","priority":3}})"),
            R"({"id":"1","ok":true})");
  EXPECT_EQ(error(R"({"id":"1","to":"jobs","type":"Job","body":{"name":"a","priority":-1}})"),
            "full: queue: no room");
  EXPECT_EQ(error(R"({"id":"1","to":"jobs","type":"Job","body":{"name":"a"}})"),
            "malformed: body.priority: it is missing");
  EXPECT_EQ(error(R"({"id":"1","to":"jobs","type":"Add","body":{"amount":1}})"),
            "refused: jobs: it takes no message of type Add");
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs[0].name, "a");
}

// ---- what breaks the contract
// ------------------------------------------------------------------------------

TEST_F(ForeignEndpoint, RefusesWhomAndWhatItDoesNotKnow) {
  EXPECT_EQ(error(R"({"id":"1","to":"nobody","type":"Add"})"), "refused: nobody: nobody has that name here");
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Subtract"})"),
            "refused: counter: it takes no message of type Subtract");
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Total","version":2})"),
            "refused: version: this endpoint speaks version 1");
  EXPECT_EQ(endpoint.counts().refused, 3U);
}

TEST_F(ForeignEndpoint, TellsWhereABodyDoesNotFit) {
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Add"})"), "malformed: body.amount: it is missing");
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Add","body":{"amount":"many"}})"),
            "malformed: body.amount: wanted is an integer: digits alone");
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Add","body":5})"),
            "malformed: body: wanted is an object");
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Echo","body":{"text":"","numbers":[1,null]}})"),
            "malformed: body.numbers[1]: wanted is a number");
}

TEST_F(ForeignEndpoint, AnswersUnderTheIdAsSoonAsThereIsOne) {
  for (const auto* request :
       {R"({"id":"7"})", R"({"id":"7","to":5,"type":"Add"})", R"({"id":"7","to":"counter"})",
        R"({"id":"7","to":"counter","type":""})", R"({"id":"7","to":"counter","type":"Total","within_ms":0})",
        R"({"id":"7","to":"counter","type":"Total","within_ms":1.5})",
        R"({"id":"7","to":"counter","type":"Total","within_ms":60001})",
        R"({"id":"7","to":"counter","type":"Total","within_ms":"5"})", R"({"id":"7","version":"1"})"}) {
    const std::string answer = ask(request);
    EXPECT_NE(answer.find(R"("id":"7","ok":false)"), std::string::npos) << request << answer;
  }
}

TEST_F(ForeignEndpoint, AnswersUnderNoIdWhereThereIsNone) {
  const std::string deep(100'000, '[');
  const std::string long_id = R"({"id":")" + std::string(129, 'x') + R"(","to":"counter","type":"Total"})";
  const std::vector<std::string> requests{
      "",
      "{",
      "[]",
      "null",
      "{}",
      "\xff\xfe",
      "\x81",
      "\x80",
      R"({"id":5,"to":"counter","type":"Total"})",
      R"({"id":"","to":"counter","type":"Total"})",
      R"({"id":null,"to":"counter","type":"Total"})",
      R"({"id":"1","id":"2","to":"counter","type":"Total"})",
      R"({"id":"1","to":"counter","type":"Total"} )"
      "x",
      "{\"id\":\"\xc3\x28\",\"to\":\"counter\",\"type\":\"Total\"}",
      R"({"id":"1","to":"counter","type":"Echo","body":{"text":"","numbers":[NaN]}})",
      long_id,
      deep};
  for (const std::string& request : requests) {
    const std::string answer = ask(request);
    const bool msgpack = foreign::encoding_of(bytes_of(request)) == Encoding::msgpack;
    const Value said = (msgpack ? from_msgpack(answer) : from_json(answer)).value();
    ASSERT_NE(said.member("id"), nullptr) << request.substr(0, 80);
    EXPECT_TRUE(said.member("id")->is_null()) << request.substr(0, 80);
    EXPECT_EQ(*said.member("error")->member("kind")->as<std::string>(), "malformed");
  }
  EXPECT_EQ(endpoint.counts().malformed, requests.size());
  EXPECT_EQ(endpoint.counts().requests, 0U);
  EXPECT_EQ(ask(R"({"id":"1","to":"counter","type":"Total"})"), R"({"id":"1","ok":true,"value":0})");
}

TEST_F(ForeignEndpoint, DropsAndCountsWhatHasMoreFrames) {
  client.send_frames({R"({"id":"1","to":"counter","type":"Total"})", "more"});
  client.send_frames({"", "a", "b"});
  EXPECT_EQ(ask(R"({"id":"2","to":"counter","type":"Total"})"), R"({"id":"2","ok":true,"value":0})");
  EXPECT_EQ(endpoint.counts().malformed, 2U);
}

TEST_F(ForeignEndpoint, AnswersWhatIsTooLargeAndCutsOffWhatIsMuchTooLarge) {
  auto small = Endpoint::create({.limits = {.message_bytes_max = 1000}}).value();
  Client far{context, small.address()};
  const auto said = [&](std::size_t bytes) {
    far.send(std::string(bytes, ' '));
    std::optional<std::string> reply;
    const TimePoint deadline = deadline_in(patience);
    while (!reply && Clock::now() < deadline) {
      small.serve(1ms).value();
      reply = far.receive_now();
    }
    return reply.value_or("nothing");
  };
  EXPECT_NE(said(2000).find("more than the 1000"), std::string::npos);
  ::zmq::socket_t watch{context, ::zmq::socket_type::pair};
  zmq_socket_monitor(far.socket().handle(), "inproc://monitor", ZMQ_EVENT_DISCONNECTED);
  watch.connect("inproc://monitor");
  watch.set(::zmq::sockopt::rcvtimeo,
            static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(patience).count()));
  far.send(std::string(2001, ' '));
  ::zmq::message_t event;
  EXPECT_TRUE(watch.recv(event)) << "its connection is cut";
  zmq_socket_monitor(far.socket().handle(), nullptr, 0);
  EXPECT_NE(said(10).find("malformed"), std::string::npos) << "and it may come again";
}

TEST_F(ForeignEndpoint, AReplyOfMoreThanAFrameIsAnError) {
  const auto shout = [&](std::uint32_t bytes) {
    return ask(R"({"id":"1","to":"counter","type":"Shout","body":{"bytes":)" + std::to_string(bytes) + "}}");
  };
  EXPECT_GT(shout(1'000'000).size(), 1'000'000U);
  EXPECT_NE(shout(2'000'000).find(R"("kind":"invalid")"), std::string::npos);
  EXPECT_GT(shout(1'000).size(), 1'000U);
}

TEST_F(ForeignEndpoint, SurvivesDamagedRequests) {
  std::mt19937 random{11};
  const std::string sound =
      R"({"id":"1","to":"counter","type":"Echo","body":{"text":"abc","numbers":[1,2.5,-3e4]}})";
  for (int i = 0; i < 500; ++i) {
    std::string request = sound;
    for (int damages = 0; damages < 3; ++damages)
      request[random() % request.size()] = static_cast<char>(random());
    EXPECT_NE(ask(request), "nothing");
  }
  const EndpointCounts counts = endpoint.counts();
  EXPECT_EQ(counts.replies, 500U);
  EXPECT_GT(counts.malformed, 0U);
  EXPECT_EQ(ask(R"({"id":"1","to":"counter","type":"Total"})"), R"({"id":"1","ok":true,"value":0})");
}

// ---- what actors do
// ----------------------------------------------------------------------------------------

TEST_F(ForeignEndpoint, BringsTheErrorThatAHandlerReturned) {
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Fail","body":{"why":"not today"}})"),
            "refused: not today");
}

TEST_F(ForeignEndpoint, ReportsAMessageThatNoIncarnationSurvives) {
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Throw","within_ms":60000})").substr(0, 7), "poison:");
}

TEST_F(ForeignEndpoint, SaysThatAReplyCannotBeSaid) {
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Say"})"), "invalid: foreign: text that is not UTF-8");
}

TEST_F(ForeignEndpoint, AnActorThatDoesNotAnswerHoldsUpNobodyElse) {
  const auto other = spawn("other");
  endpoint.expose<Total>("other", other).value();
  client.send(R"({"id":"slow","to":"counter","type":"Hold"})");
  Client second{context, endpoint.address()};
  for (int i = 0; i < 10; ++i) {
    second.send(R"({"id":"1","to":"other","type":"Total"})");
    EXPECT_EQ(reply(second), R"({"id":"1","ok":true,"value":0})");
  }
  gate.open();
  EXPECT_EQ(reply(client), R"({"id":"slow","ok":true,"value":1})");
}

TEST_F(ForeignEndpoint, AQuestionEndsAtItsDeadline) {
  const TimePoint begin = Clock::now();
  EXPECT_EQ(error(R"({"id":"1","to":"counter","type":"Hold","within_ms":30})").substr(0, 9), "timed_out");
  EXPECT_GE(Clock::now() - begin, 30ms);
  EXPECT_EQ(error(R"({"id":"2","to":"counter","type":"Total","within_ms":30})").substr(0, 9), "timed_out");
  EXPECT_EQ(endpoint.counts().timed_out, 2U);
  gate.open();
  EXPECT_EQ(ask(R"({"id":"3","to":"counter","type":"Total"})"), R"({"id":"3","ok":true,"value":0})");
}

TEST_F(ForeignEndpoint, AQuestionThatWaitsBehindAnotherMeetsItsOwnDeadline) {
  client.send(R"({"id":"first","to":"counter","type":"Hold"})");
  client.send(R"({"id":"second","to":"counter","type":"Total","within_ms":20})");
  const std::string answer = reply(client);
  EXPECT_NE(answer.find(R"("id":"second")"), std::string::npos) << answer;
  EXPECT_EQ(error_in(answer).substr(0, 9), "timed_out");
  gate.open();
  EXPECT_EQ(reply(client), R"({"id":"first","ok":true,"value":1})");
}

TEST_F(ForeignEndpoint, AnActorThatIsKilledAndNotReplacedIsDown) {
  const auto mortal = spawn("mortal", {.restart = Restart::temporary});
  endpoint.expose<Hold, Total, Add>("mortal", mortal).value();
  client.send(R"({"id":"1","to":"mortal","type":"Hold","within_ms":60000})");
  wait_until_held();
  node.signal("mortal", SIGKILL).value();
  const std::string answer = reply(client);
  EXPECT_EQ(error_in(answer).substr(0, 5), "down:") << answer;
  EXPECT_NE(answer.find("had begun"), std::string::npos) << answer;
  EXPECT_EQ(error(R"({"id":"2","to":"mortal","type":"Total"})").substr(0, 5), "down:");
  EXPECT_EQ(error(R"({"id":"3","to":"mortal","type":"Add","body":{"amount":1}})").substr(0, 7), "closed:");
}

TEST_F(ForeignEndpoint, AnActorThatIsKilledAndReplacedAnswersInTheEnd) {
  client.send(R"({"id":"1","to":"counter","type":"Hold","within_ms":60000})");
  wait_until_held();
  node.signal("counter", SIGKILL).value();
  wait_until_held();
  gate.open();
  EXPECT_EQ(reply(client), R"({"id":"1","ok":true,"value":1})");
}

// ---- the endpoint's own limits
// -----------------------------------------------------------------------------

TEST_F(ForeignEndpoint, RefusesMoreThanItHasRoomFor) {
  auto tight = Endpoint::create({.requests_max = 2}).value();
  tight.expose<Hold>("counter", counter).value();
  Client far{context, tight.address()};
  for (const auto* id : {"1", "2", "3"}) far.send(R"({"id":")"s + id + R"(","to":"counter","type":"Hold"})");
  std::vector<std::string> replies;
  const auto collect = [&](std::size_t wanted) {
    const TimePoint deadline = deadline_in(patience);
    while (replies.size() < wanted && Clock::now() < deadline) {
      tight.serve(1ms).value();
      while (auto said = far.receive_now()) replies.push_back(*said);
    }
  };
  collect(1);
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_NE(replies[0].find(R"("id":"3","ok":false)"), std::string::npos) << replies[0];
  EXPECT_EQ(tight.counts().full, 1U);
  gate.open(2);
  collect(3);
  EXPECT_EQ(replies.size(), 3U);
  far.send(R"({"id":"4","to":"counter","type":"Hold"})");
  gate.open();
  collect(4);
  EXPECT_EQ(replies.size(), 4U) << "what has ended makes room";
}

TEST_F(ForeignEndpoint, AFullMailboxIsSaidAtOnce) {
  const auto narrow = spawn("narrow", {.mailbox_bytes_max = 64 << 10U});
  endpoint.expose<Hold, Add>("narrow", narrow).value();
  narrow.send(Hold{});
  ASSERT_TRUE(inbox.next());
  std::string said;
  for (int i = 0; i < 100'000 && said.find("full") == std::string::npos; ++i)
    said = ask(R"({"id":"1","to":"narrow","type":"Add","body":{"amount":1}})");
  EXPECT_EQ(error_in(said).substr(0, 5), "full:");
  EXPECT_EQ(ask(R"({"id":"2","to":"counter","type":"Total"})"), R"({"id":"2","ok":true,"value":0})");
  gate.open();
}

TEST_F(ForeignEndpoint, AClientThatIsGoneCostsNothingButItsReply) {
  const auto other = spawn("other");
  endpoint.expose<Total>("other", other).value();
  {
    ::zmq::context_t own{1};  // at its end the connection has been closed, and not only told to
    Client gone{own, endpoint.address()};
    gone.send(R"({"id":"1","to":"counter","type":"Hold"})");
    wait_until_held();
  }
  // Each round trip takes ZeroMQ's thread and the endpoint's one step on with what came before: that end.
  constexpr int steps = 10;
  for (int i = 0; i < steps; ++i)
    EXPECT_EQ(ask(R"({"id":"1","to":"other","type":"Total"})"), R"({"id":"1","ok":true,"value":0})");
  gate.open();
  EXPECT_EQ(ask(R"({"id":"1","to":"counter","type":"Total"})"), R"({"id":"1","ok":true,"value":0})");
  const EndpointCounts counts = endpoint.counts();
  EXPECT_EQ(counts.requests, steps + 2U);
  EXPECT_EQ(counts.replies, steps + 1U);
  EXPECT_EQ(counts.undelivered, 1U);
}

TEST_F(ForeignEndpoint, OfAClientThatDoesNotReadRepliesBeyondTheLimitAreDroppedAndCounted) {
  // Over ipc, where the kernel's own buffer is small; what it holds comes on top of the limit.
  auto local = Endpoint::create({.address = "ipc://*"}).value();
  constexpr std::uint64_t replies_max = 1024;  // docs/foreign.md
  constexpr std::uint64_t requests = 4 * replies_max;
  Client deaf{context, local.address()};
  deaf.socket().set(::zmq::sockopt::rcvhwm, 1);
  deaf.socket().disconnect(local.address());
  deaf.socket().connect(local.address());  // from now on with that
  const std::string name(128, 'n');        // an error says it again
  const auto handled = [&] { return local.counts().replies + local.counts().undelivered; };
  const TimePoint deadline = deadline_in(3 * patience);
  for (std::uint64_t sent = 0; sent < requests; ++sent) {
    deaf.send(R"({"id":"1","type":"Add","to":")" + name + R"("})");
    if (sent % 100 == 0) local.serve(0s).value();
  }
  while (handled() < requests && Clock::now() < deadline) local.serve(1ms).value();
  const EndpointCounts counts = local.counts();
  EXPECT_EQ(counts.requests, requests);
  EXPECT_EQ(counts.replies + counts.undelivered, requests);
  EXPECT_GE(counts.replies, replies_max);
  EXPECT_LT(counts.replies, 2 * replies_max);

  Client second{context, local.address()};
  const auto said = [&](Client& to) {
    std::optional<std::string> reply;
    while (!reply && Clock::now() < deadline) {
      local.serve(1ms).value();
      reply = to.receive_now();
    }
    return reply.value_or("nothing");
  };
  second.send("?");
  EXPECT_EQ(error_in(said(second)).substr(0, 9), "malformed") << "it harms nobody but itself";
  for (std::uint64_t i = 0; i < counts.replies; ++i)
    ASSERT_EQ(error_in(said(deaf)).substr(0, 7), "refused") << i << ": what was not dropped is there";
  EXPECT_EQ(deaf.receive_now(), std::nullopt);
}

TEST_F(ForeignEndpoint, CountsWhatItDoes) {
  ask(R"({"id":"1","to":"counter","type":"Add","body":{"amount":1}})");
  ask(R"({"id":"2","to":"counter","type":"Total"})");
  ask(R"({"id":"3","to":"counter","type":"Add"})");
  ask(R"({"id":"4","to":"nobody","type":"Add"})");
  ask("?");
  EXPECT_EQ(endpoint.counts(), (EndpointCounts{.requests = 4, .replies = 5, .malformed = 2, .refused = 1}));
}

TEST_F(ForeignEndpoint, ServesForAsLongAsItIsToldAndNoLess) {
  const TimePoint begin = Clock::now();
  endpoint.serve(30ms).value();
  EXPECT_GE(Clock::now() - begin, 30ms);
}

TEST_F(ForeignEndpoint, TakesNoProcessorTimeWhileNothingComes) {
  endpoint.serve(10ms).value();
  timespec before{};
  timespec after{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  endpoint.serve(300ms).value();
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const auto used = std::chrono::seconds{after.tv_sec - before.tv_sec} +
                    std::chrono::nanoseconds{after.tv_nsec - before.tv_nsec};
  EXPECT_LT(used, 100ms) << "a third of the time: a loop that turns idly takes all of it";
}

TEST_F(ForeignEndpoint, EndsWhenTheKeeperIsGone) {
  ::kill(keeper_pid(), SIGKILL);
  EXPECT_EQ(endpoint.serve(patience).error().kind, ErrorKind::down);
}

}  // namespace
}  // namespace troupe::test
