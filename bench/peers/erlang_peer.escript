#!/usr/bin/env escript
%% SPDX-License-Identifier: MIT
%% What Erlang's processes do in one VM: erlang_peer.escript <measurement> <bytes> <count> [<senders>]
%% Prints one figure: messages a second, or the median nanoseconds of a round trip.
-mode(compile).

main(["one_way", Bytes, Count]) -> one_way(list_to_integer(Bytes), list_to_integer(Count), 1);
main(["one_way", Bytes, Count, Senders]) ->
    one_way(list_to_integer(Bytes), list_to_integer(Count), list_to_integer(Senders));
main(["round_trip", Bytes, Rounds]) -> round_trip(list_to_integer(Bytes), list_to_integer(Rounds)).

one_way(Bytes, Count, Senders) ->
    Self = self(),
    Payload = binary:copy(<<0>>, Bytes),
    Each = Count div Senders,
    Receiver = spawn(fun() -> receive_all(Each * Senders), Self ! done end),
    Before = erlang:monotonic_time(nanosecond),
    [spawn(fun() -> send_all(Receiver, Payload, Each) end) || _ <- lists:seq(1, Senders)],
    receive done -> ok end,
    print(Each * Senders * 1.0e9 / (erlang:monotonic_time(nanosecond) - Before)).

send_all(_, _, 0) -> ok;
send_all(To, Payload, Left) -> To ! {block, Payload}, send_all(To, Payload, Left - 1).

receive_all(0) -> ok;
receive_all(Left) -> receive {block, _} -> receive_all(Left - 1) end.

round_trip(Bytes, Rounds) ->
    Echo = spawn(fun echo/0),
    Payload = binary:copy(<<0>>, Bytes),
    Times = [round(Echo, Payload) || _ <- lists:seq(1, Rounds)],
    print(float(lists:nth(Rounds div 2 + 1, lists:sort(Times)))).

echo() -> receive {From, Payload} -> From ! {answer, Payload}, echo() end.

round(Echo, Payload) ->
    Before = erlang:monotonic_time(nanosecond),
    Echo ! {self(), Payload},
    receive {answer, _} -> erlang:monotonic_time(nanosecond) - Before end.

print(Figure) -> io:format("~.3f~n", [Figure]).
