/* SPDX-License-Identifier: MIT
 * The lanes of one sender, one an incarnation, on their way to a reader that may die as well (docs/lane.md, epochs; the
 * keeper's part is runtime/switchboard.cpp).
 *
 * The keeper makes a lane, tells the reader of it once its sender is connected, and says that it is final when the sender has
 * died. The reader takes from the oldest lane it has, gives a final one back when it is empty, and only then goes on to the
 * next. Claim: messages are taken in the order in which they were sent, and when nothing moves any more, none is left.
 * Words and wake-ups are whole here; wake_up.pml is about those.
 */
#ifndef LANES
#define LANES 2 /* incarnations of the sender. Three: 42,986,154 states and 0 errors, by hand on 2026-11-22; 9 GB */
#endif
#define READERS 2
#define NONE 255

byte published[LANES]; /* 0 or 1: the tail */
byte head[LANES];      /* the reader's word; the next incarnation goes on there */

/* What the keeper knows. */
bool exists[LANES], connected[LANES], final[LANES];
bool reader_has[LANES], final_told[LANES];
byte offered = NONE; /* by the last pull */
bool offered_final;
byte notice; /* its word for the reader */
byte reader; /* the present incarnation */
bool reader_alive;

bool made[LANES];
bool kill_sender[LANES], kill_reader[READERS];
mtype = { connect, connect_told, sender_died, pull, drained, reader_died, lane_added, lane_final, nothing };
chan keeper = [6] of { mtype, byte, bool };
chan answer[READERS] = [1] of { mtype, byte, bool };

proctype Sender(byte me) {
  {
    keeper!connect(me, false);
    made[me];
    keeper!connect_told(me, false);
    published[me] = 1;
    false /* lives until it is killed */
  } unless { kill_sender[me] };
  keeper!sender_died(me, false)
}

inline learn(kind, lane, is_final) {
  if
  :: kind == lane_added -> has[lane] = true; knows_final[lane] = is_final
  :: kind == lane_final -> knows_final[lane] = true
  fi
}

/* The oldest lane that it has. */
inline choose() {
#ifdef NO_OLDEST_FIRST
  front = LANES - 1;
  do
  :: front > 0 && !has[front] -> front--
  :: else -> break
  od;
  front = (has[front] -> front : LANES)
#else
  front = 0;
  do
  :: front < LANES && !has[front] -> front++
  :: else -> break
  od
#endif
}

inline all_taken_before(lane) {
  byte earlier = 0;
  do
  :: earlier < lane -> assert(published[earlier] == head[earlier]); earlier++
  :: else -> break
  od
}

proctype Reader(byte me) {
  bool has[LANES], knows_final[LANES];
  byte seen = NONE;
  byte front, lane;
  mtype kind;
  bool is_final, took;
  bool may_fail = (me == 0); /* once it cannot take what it is told: no descriptor is free */
  {
    do
    :: notice != seen ->
      seen = notice;
      took = false;
      do
      :: keeper!pull(me, took);
        answer[me]?kind(lane, is_final);
        if
        :: kind == nothing -> break
        :: kind != nothing && may_fail -> may_fail = false; seen = NONE; break
        :: kind != nothing -> atomic { learn(kind, lane, is_final); took = true }
        fi
      od
    :: else ->
      atomic { choose() };
      if
      :: front == LANES -> notice != seen
      :: front < LANES && published[front] != head[front] -> atomic {
          all_taken_before(front);
          head[front] = 1
        }
      :: front < LANES && published[front] == head[front] && knows_final[front] ->
        has[front] = false;
        keeper!drained(front, false)
      :: front < LANES && published[front] == head[front] && !knows_final[front] ->
        (notice != seen || published[front] != head[front])
      fi
    od
  } unless { kill_reader[me] };
  keeper!reader_died(me, false)
}

inline free_lane(lane) { exists[lane] = false }

inline retire(lane) {
  final[lane] = true;
  if
  :: !connected[lane] -> free_lane(lane)
#ifdef NO_CARE_FOR_WHAT_IS_OFFERED
  :: connected[lane] && !(reader_alive && reader_has[lane]) && published[lane] == head[lane] -> free_lane(lane)
#else
#ifdef NO_LOOK_WHETHER_IT_IS_EMPTY
  :: connected[lane] && !(reader_alive && (reader_has[lane] || offered == lane)) -> free_lane(lane)
#else
  :: connected[lane] && !(reader_alive && (reader_has[lane] || offered == lane)) && published[lane] == head[lane] ->
    free_lane(lane)
#endif
#endif
  :: else -> notice++
  fi
}

inline confirm() {
  if
  :: offered != NONE && exists[offered] -> reader_has[offered] = true; final_told[offered] = offered_final
  :: else
  fi
}

inline offer(me) {
  lane = 0;
  do
  :: lane == LANES -> offered = NONE; answer[me]!nothing(0, false); break
  :: lane < LANES && exists[lane] && connected[lane] && !reader_has[lane] ->
    offered = lane; offered_final = final[lane]; answer[me]!lane_added(lane, final[lane]); break
  :: lane < LANES && exists[lane] && reader_has[lane] && final[lane] && !final_told[lane] ->
    offered = lane; offered_final = true; answer[me]!lane_final(lane, true); break
  :: else -> lane++
  od;
#ifdef NO_CONFIRMATION
  confirm()
#endif
}

active proctype Keeper() {
  byte who, lane;
  bool took;
  atomic { run Sender(0); reader_alive = true; run Reader(0) };
  do
  :: keeper?connect(who, _) -> atomic { exists[who] = true; made[who] = true }
  :: keeper?connect_told(who, _) -> atomic { connected[who] = true; notice++ }
  :: keeper?sender_died(who, _) -> atomic {
      if
      :: exists[who] -> retire(who)
      :: else
      fi;
      if
      :: who + 1 < LANES -> run Sender(who + 1)
      :: else
      fi
    }
  :: keeper?drained(lane, _) -> atomic {
      if
      :: exists[lane] && final[lane] -> free_lane(lane)
      :: else
      fi
    }
  :: keeper?pull(who, took) -> atomic {
      if
      :: took -> confirm()
      :: else
      fi;
      offer(who)
    }
  :: keeper?reader_died(who, _) -> atomic {
      reader_alive = false;
      offered = NONE;
      lane = 0;
      do
      :: lane == LANES -> break
      :: else -> reader_has[lane] = false; final_told[lane] = false; lane++
      od;
      reader = who + 1;
      reader_alive = true;
      run Reader(reader)
    }
  od
}

active proctype Killer() {
  byte next = 0;
  do
  :: atomic { next < LANES - 1 && (next == 0 || made[next - 1]) -> kill_sender[next] = true; next++ }
  :: atomic { !kill_reader[0] -> kill_reader[0] = true }
  :: break
  od
}

active proctype Judge() {
  timeout;
  all_taken_before(LANES)
}
