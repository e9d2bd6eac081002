/* SPDX-License-Identifier: MIT
 * The items of a queue on their way from two senders to receivers, over deaths, stops, and an end that comes later.
 *
 * Each sender has a ring, here of one record, with a head and a tail that only it moves and a lease word that all ends change
 * by compare-and-swap: ready -> leased by (slot, generation, attempt) -> done, or back, or quarantined. Each end has a slot and
 * a bell, and watches the processes of all other slots. Who learns of a death first puts back what the dead one held and then
 * frees its slot. Who wants to sleep says so, looks at the slots, then at the lanes, then whether this is the end, and sleeps.
 *
 * Claims: nobody has in hand what another living end has; nothing is done twice or lost; when nothing moves any more, no
 * receiver sleeps that has something to take or an end to report, and no sender that has room; a receiver that is stopped for
 * ever holds up what it has leased, and nothing else; after a reported end nothing comes.
 *
 * RING_ONE is the other protocol: who has something for a sleeper rings one of them only, and who takes something while
 * there is more passes the ring on. It holds with STOPS=0, and only then: the one that is rung may be stopped.
 *
 * Of what need not happen (deaths, stops, ends that come later, giving back, deadlines, closing) at most UNUSUAL things happen
 * in one run, in any order and at any time. A look at one lane, at all slots, at all sleepers is one step each; what is
 * decided by two of them is two. Memory is TSO, as in wake_up.pml; a compare-and-swap waits until its processor's buffer is
 * empty.
 */
#ifndef UNUSUAL
#define UNUSUAL 3
#endif
#ifndef STOPS
#define STOPS 1 /* whether a receiver may be stopped for ever */
#endif
#ifndef FIRST_MESSAGES
#define FIRST_MESSAGES 2 /* of the first sender. The second, which comes later, sends one */
#endif
#define ATTEMPTS 2

/* Processes. */
#define LATER 2 /* the third receiver */
#define FIRST_SENDER 3
#define SECOND_SENDER 4
#define OWNER 5
#define BIT(process) (1 << (process))
/* Slots: two for receivers, then one for each lane's sender. */
#define RECEIVERS 2
#define LANES 2
#define SLOTS 4

#define DONE 0
#define READY 1
#define LEASED 2
#define QUARANTINED 3
#ifdef NO_LAP
#define LAP_BITS(lap) 0
#define SAME_LAP(word, lap) true
#else
#define LAP_BITS(lap) ((lap) << 7)
#define SAME_LAP(word, lap) (((word) >> 7) == (lap))
#endif
#ifdef NO_GENERATION
#define GENERATION_BITS(generation) 0
#else
#define GENERATION_BITS(generation) ((generation) << 3)
#endif
#define LEASE(state, slot, generation, attempt, lap) \
  ((state) | ((slot) << 2) | GENERATION_BITS(generation) | ((attempt) << 5) | LAP_BITS(lap))
#define STATE(word) ((word)&3)
#define HELD_BY(word, slot, generation) (((word)&31) == (LEASED | ((slot) << 2) | GENERATION_BITS(generation)))
#define ATTEMPT(word) (((word) >> 5) & 3)
#define GIVEN_BACK(word) (((word) & ~31) | (ATTEMPT(word) < ATTEMPTS -> READY : QUARANTINED))
#define FREE_AGAIN(word) (STATE(word) == DONE || STATE(word) == QUARANTINED)
#define EMPTY(lane) (head[lane] == tail[lane] || FREE_AGAIN(lease[lane]))
#define ALL_EMPTY (EMPTY(0) && EMPTY(1))
#define NO_SENDER (!in_use[RECEIVERS] && !in_use[RECEIVERS + 1])

/* Shared memory, and bells. */
short lease[LANES];
byte head[LANES], tail[LANES], payload[LANES];
bool in_use[SLOTS];
byte holder[SLOTS], generation[SLOTS]; /* one word with in_use */
bool asleep[RECEIVERS];                /* whether its counter is odd */
bool listed[RECEIVERS];                /* its bit in the map of sleepers */
byte rung[RECEIVERS];                  /* who has rung for the counter's value: each keeps that for itself */
bool waiting[LANES];                   /* whether the sender's counter is odd: it waits for room */
byte wanted[LANES];                    /* the record whose end it waits for */
bool closed;
bool bell[SLOTS];

/* What the judge knows; sets of processes are bits. */
byte budget = UNUSUAL;
byte kill, stop, dead;
byte in_hand[LANES]; /* 1 + process */
byte owes;           /* have changed a lease and not rung yet */
byte sleeps;
byte dying, pid_of[5];
bool ended;

#define OUT_OF_THE_WAY(process) ((kill | stop) & BIT(process))

/* A store that no fence follows waits in its processor's buffer. */
bool tail_waits[LANES], waiting_waits[LANES], asleep_waits[RECEIVERS];
byte tail_buffer[LANES];

inline asleep_arrives(it) {
  asleep[it] = !asleep[it];
  listed[it] = asleep[it];
  rung[it] = (asleep[it] -> 0 : rung[it]);
  asleep_waits[it] = false
}

#if defined(NO_FENCE_AT_SENDER) || defined(NO_FENCE_AT_RECEIVER) || defined(NO_FENCE_AT_WAITING) || \
    defined(NO_FENCE_AT_DEADLINE)
active proctype Memory() {
end:
  do
  :: atomic { tail_waits[0] -> tail[0] = tail_buffer[0]; tail_buffer[0] = 0; tail_waits[0] = false }
  :: atomic { tail_waits[1] -> tail[1] = tail_buffer[1]; tail_buffer[1] = 0; tail_waits[1] = false }
  :: atomic { waiting_waits[0] -> waiting[0] = true; waiting_waits[0] = false }
  :: atomic { asleep_waits[0] -> asleep_arrives(0) }
  :: atomic { asleep_waits[1] -> asleep_arrives(1) }
  od
}
#endif

inline says_that_it_sleeps() {
#ifdef NO_FENCE_AT_RECEIVER
  asleep_waits[slot] = true
#else
  asleep_arrives(slot)
#endif
}

inline says_that_it_is_awake() {
#if defined(NO_FENCE_AT_RECEIVER) || defined(NO_FENCE_AT_DEADLINE)
  asleep_waits[slot] = true
#else
  asleep_arrives(slot)
#endif
}

#define TO_RING(i) (in_use[i] && listed[i] && asleep[i] && !(rung[i] & BIT(me)))

inline ring_sleeper(it) { rung[it] = rung[it] | BIT(me); bell[it] = true }

/* After something has become ready. */
inline ring_sleepers() {
#ifdef RING_ONE
  if
  :: TO_RING(0) -> ring_sleeper(0)
  :: TO_RING(1) -> ring_sleeper(1)
  :: !TO_RING(0) && !TO_RING(1)
  fi
#else
  if
  :: TO_RING(0) -> ring_sleeper(0)
  :: else
  fi;
  if
  :: TO_RING(1) -> ring_sleeper(1)
  :: else
  fi
#endif
}

inline ring_receivers() { bell[0] = true; bell[1] = true }

inline free_slot(which, old_generation) {
  if
  :: in_use[which] && generation[which] == old_generation ->
    in_use[which] = false; holder[which] = 0; generation[which]++
  :: else
  fi
}

/* Slot i belongs to a process that is dead: puts back what it held, then frees the slot. */
inline clean() {
#ifdef NO_PUTTING_BACK_FIRST
  atomic { free_slot(i, old) };
#endif
#ifdef NO_CARE_FOR_ANOTHERS_BIT
  if
  :: i < RECEIVERS -> listed[i] = false
  :: else
  fi;
#endif
  do
  :: atomic { k < LANES && i < RECEIVERS && HELD_BY(lease[k], i, old) -> word = lease[k] };
    atomic {
      if
      :: lease[k] == word -> lease[k] = GIVEN_BACK(word)
      :: else
      fi;
      word = 0;
      k++
    }
  :: atomic { k < LANES && !(i < RECEIVERS && HELD_BY(lease[k], i, old)) -> k++ }
  :: atomic { k == LANES -> free_slot(i, old); old = 0; k = 0; i = 0; break }
  od
}

#define LIVES(i) (i != own && in_use[i] && !(dead & BIT(holder[i])))
#define IS_DEAD(i) (i != own && in_use[i] && (dead & BIT(holder[i])))
#ifdef NO_CONFIRMED_DEATH
#define TAKEN_FOR_DEAD(i) (i != own && in_use[i])
#else
#define TAKEN_FOR_DEAD(i) IS_DEAD(i)
#endif

/* Looks who is there: cleans up behind the dead, watches the living from now on. */
inline look_at_slots(own) {
  do
  :: atomic { TAKEN_FOR_DEAD(0) -> i = 0; old = generation[i] }; clean()
  :: atomic { TAKEN_FOR_DEAD(1) -> i = 1; old = generation[i] }; clean()
  :: atomic { IS_DEAD(2) -> i = 2; old = generation[i] }; clean()
  :: atomic { IS_DEAD(3) -> i = 3; old = generation[i] }; clean()
  :: atomic { !closed && (dead & BIT(OWNER)) -> closed = true }
  :: atomic { !IS_DEAD(0) && !IS_DEAD(1) && !IS_DEAD(2) && !IS_DEAD(3) && (closed || !(dead & BIT(OWNER))) ->
      watched = (LIVES(0) -> BIT(holder[0]) : 0) | (LIVES(1) -> BIT(holder[1]) : 0) | (LIVES(2) -> BIT(holder[2]) : 0) |
                (LIVES(3) -> BIT(holder[3]) : 0) | (closed -> 0 : BIT(OWNER));
      break
    }
  od
}

#define SOMETHING_READY(lane) \
  (head[lane] != tail[lane] && STATE(lease[lane]) == READY && SAME_LAP(lease[lane], head[lane] + 1))

/* k becomes the lane that has something ready, word its lease; LANES if there is none. */
inline look_at_lanes() {
  if
  :: SOMETHING_READY(0) -> k = 0; word = lease[0]; lap = head[0] + 1
  :: SOMETHING_READY(1) -> k = 1; word = lease[1]; lap = head[1] + 1
  :: !SOMETHING_READY(0) && !SOMETHING_READY(1) -> k = LANES
  fi
}

/* Lane k's lease was as `word` says, and if it still is so it is mine: handled and done, or given back. */
inline take() {
  atomic {
    !asleep_waits[slot];
    if
    :: lease[k] == word ->
      word = LEASE(LEASED, slot, mine, ATTEMPT(word) + 1, lap);
      lease[k] = word;
      assert(in_hand[k] == 0 && payload[k] == lap);
      in_hand[k] = 1 + me
    :: else -> goto taken
    fi
  };
#if defined(RING_ONE) && !defined(NO_PASSING_ON)
  atomic {
    if
    :: SOMETHING_READY(1 - k) -> ring_sleepers()
    :: else
    fi
  };
#endif
  atomic {
    assert(lease[k] == word); /* nobody else may do it, or give it back */
    if
    :: word = LEASE(DONE, 0, 0, 0, lap)
    :: budget > 0 -> budget--; word = GIVEN_BACK(word)
    fi;
    lease[k] = word;
    in_hand[k] = 0;
    owes = owes | BIT(me);
    if
    :: STATE(word) == READY -> goto given_back
    :: else
    fi
  };
#ifndef NO_RING_FOR_ROOM
  atomic {
    if
    :: waiting[k] && wanted[k] == lap -> bell[RECEIVERS + k] = true
    :: else
    fi
  };
#endif
  atomic {
#ifndef NO_RING_AT_THE_LAST
    if
    :: closed && ALL_EMPTY -> ring_receivers()
    :: else
    fi;
#endif
    goto taken
  };
given_back:
  atomic {
#ifndef NO_RING_AT_GIVING_BACK
    ring_sleepers();
#endif
    skip;
taken:
    owes = owes & ~BIT(me); word = 0; lap = 0; k = 0
  }
}

/* While one dies nobody else moves: a kill is one step. */
#define MOVES provided(dying == 0 || dying == _pid)

inline die() {
  atomic {
    dying = 0;
    if
    :: kill & BIT(me) ->
      dead = dead | BIT(me);
      in_hand[0] = (in_hand[0] == 1 + me -> 0 : in_hand[0]);
      in_hand[1] = (in_hand[1] == 1 + me -> 0 : in_hand[1])
    :: else /* stopped for ever */
    fi;
    sleeps = sleeps & ~BIT(me);
    i = 0; k = 0; old = 0; lap = 0; watched = 0; mine = 0; word = 0
  }
}

inline attach_receiver() {
  atomic { budget > 0 && (!in_use[0] || !in_use[1]) ->
    budget--;
    slot = (in_use[0] -> 1 : 0);
    in_use[slot] = true;
    holder[slot] = me;
    mine = generation[slot];
#ifdef NO_COUNTING_ON
    remembered = rung[slot]; /* its first odd value may be one that has been rung for */
#endif
    if
    :: asleep[slot] -> asleep_arrives(slot)
    :: else
    fi
  };
#ifndef NO_RING_AT_ATTACHING
  atomic { ring_receivers(); bell[2] = true; bell[3] = true };
#endif
  skip
}

/* The end: closed and no sender, then nothing left, in this order. */
#ifdef NO_LOOK_AT_SENDERS_FIRST
#define MAY_BE_THE_END ALL_EMPTY
#define IS_THE_END (closed && NO_SENDER)
#else
#define MAY_BE_THE_END (closed && NO_SENDER)
#define IS_THE_END ALL_EMPTY
#endif

#define UNWATCHED(slot) (in_use[slot] && !(watched & BIT(holder[slot])))

proctype Receiver(byte me; byte slot) MOVES {
  byte i, k, old, lap, watched, mine;
  short word;
  bool leaves;
#ifdef NO_COUNTING_ON
  byte remembered;
#endif
  {
    if
    :: me == LATER -> attach_receiver()
    :: else
    fi;
    do
    :: atomic { !asleep_waits[slot];
        says_that_it_sleeps();
#ifdef NO_COUNTING_ON
        rung[slot] = rung[slot] | remembered; remembered = 0;
#endif
        skip
      };
#ifndef NO_LOOK_AT_SLOTS_FIRST
      look_at_slots(slot);
#endif
      atomic {
        look_at_lanes();
        if
        :: k < LANES -> goto awake
        :: else -> k = 0
        fi;
#ifdef NO_LOOK_AT_SLOTS_FIRST
      };
      look_at_slots(slot);
      atomic {
#endif
        if
#ifndef NO_SLEEP_BESIDE_THE_UNWATCHED
        :: closed && (UNWATCHED(2) || UNWATCHED(3)) && !asleep_waits[slot] -> says_that_it_is_awake(); goto again
        :: !(closed && (UNWATCHED(2) || UNWATCHED(3))) && MAY_BE_THE_END
#else
        :: MAY_BE_THE_END
#endif
        :: else -> sleeps = sleeps | BIT(me); goto sleeping
        fi
      };
      atomic {
        if
        :: IS_THE_END -> break
        :: else -> sleeps = sleeps | BIT(me)
        fi
      };
sleeping:
      if
      :: atomic { (bell[slot] || (dead & watched)) && !asleep_waits[slot] ->
          bell[slot] = false; sleeps = sleeps & ~BIT(me); watched = 0; says_that_it_is_awake(); goto again
        }
      :: atomic { budget > 0 && !asleep_waits[slot] -> /* its deadline: it goes away, and never comes back */
          budget--; sleeps = sleeps & ~BIT(me); watched = 0; leaves = true; says_that_it_is_awake();
#if !defined(RING_ONE) || defined(NO_LOOK_AT_DEADLINE)
          goto away
#endif
        };
#if defined(RING_ONE) && !defined(NO_LOOK_AT_DEADLINE)
        atomic {
#ifndef NO_FENCE_AT_DEADLINE
          !asleep_waits[slot];
#endif
          look_at_lanes();
          if
          :: k < LANES -> goto taking
          :: else -> k = 0; goto away
          fi
        }
#endif
      fi;
awake:
      atomic { !asleep_waits[slot]; watched = 0; says_that_it_is_awake() };
taking:
      take();
again:
      if
      :: leaves -> goto away
      :: else
      fi
    od;
    atomic {
      assert(ALL_EMPTY && in_hand[0] == 0 && in_hand[1] == 0);
      ended = true;
      free_slot(slot, mine)
    };
away:
    false
  } unless { OUT_OF_THE_WAY(me) };
  !asleep_waits[slot];
  die()
}

inline attach_sender() {
  atomic { budget > 0 -> budget-- };
#ifdef NO_LOOK_AT_CLOSED_BEHIND
  !closed;
  atomic { in_use[RECEIVERS + lane] = true; holder[RECEIVERS + lane] = me };
#else
  atomic { in_use[RECEIVERS + lane] = true; holder[RECEIVERS + lane] = me };
  if
  :: closed -> goto leave
  :: else
  fi;
#endif
#ifndef NO_RING_AT_ATTACHING
  atomic { ring_receivers() };
#endif
  skip
}

inline wait_for_room() {
#ifdef NO_FENCE_AT_WAITING
  atomic { wanted[lane] = lap; waiting_waits[lane] = true };
#else
  atomic { wanted[lane] = lap; waiting[lane] = true };
#endif
  look_at_slots(RECEIVERS + lane);
  atomic {
    if
    :: FREE_AGAIN(lease[lane]) -> goto waited
    :: else -> sleeps = sleeps | BIT(me)
    fi
  };
  atomic { bell[RECEIVERS + lane] || (dead & watched) -> bell[RECEIVERS + lane] = false; sleeps = sleeps & ~BIT(me) };
waited:
  atomic { !waiting_waits[lane] -> waiting[lane] = false; wanted[lane] = 0; watched = 0 }
}

proctype Sender(byte me; byte lane; byte messages) MOVES {
  byte i, k, old, lap, watched, mine;
  short word;
  {
    if
    :: lane == 1 -> attach_sender()
    :: else
    fi;
    do
    :: lap < messages && !FREE_AGAIN(lease[lane]) -> wait_for_room()
    :: atomic { lap < messages && FREE_AGAIN(lease[lane]) ->
        head[lane] = lap;
        lap++;
        lease[lane] = LEASE(READY, 0, 0, 0, lap);
        payload[lane] = 0
      };
#ifdef NO_FENCE_AT_SENDER
      atomic { !tail_waits[lane]; assert(!ended); payload[lane] = lap; tail_buffer[lane] = lap; tail_waits[lane] = true };
#else
      atomic { assert(!ended); payload[lane] = lap; tail[lane] = lap };
#endif
      atomic { ring_sleepers() }
    :: atomic { lap == messages && !tail_waits[lane] -> free_slot(RECEIVERS + lane, mine); break }
    od;
leave:
    atomic {
      if
      :: in_use[RECEIVERS + lane] && holder[RECEIVERS + lane] == me -> free_slot(RECEIVERS + lane, mine)
      :: else
      fi
    };
#ifndef NO_RING_AT_LEAVING
    atomic {
      if
      :: closed -> ring_receivers()
      :: else
      fi
    };
#endif
    false
  } unless { OUT_OF_THE_WAY(me) };
  !tail_waits[lane] && !waiting_waits[lane];
  die()
}

active proctype Owner() MOVES {
  if
  :: atomic { budget > 0 -> budget--; closed = true };
#ifndef NO_RING_AT_CLOSING
    atomic { ring_receivers() }
#endif
  :: atomic { budget > 0 -> budget--; dead = dead | BIT(OWNER) }
  fi
}

inline end_of(process, way) { budget--; way = way | BIT(process); dying = pid_of[process] }

active proctype Fate() MOVES {
  do
  :: atomic { budget > 0 && !OUT_OF_THE_WAY(0) -> end_of(0, kill) }
  :: atomic { budget > 0 && STOPS && !OUT_OF_THE_WAY(1) -> end_of(1, stop) }
  :: atomic { budget > 0 && !OUT_OF_THE_WAY(LATER) && (holder[0] == LATER || holder[1] == LATER) -> end_of(LATER, kill) }
  :: atomic { budget > 0 && !OUT_OF_THE_WAY(FIRST_SENDER) -> end_of(FIRST_SENDER, kill) }
  :: atomic { budget > 0 && !OUT_OF_THE_WAY(SECOND_SENDER) && holder[3] == SECOND_SENDER -> end_of(SECOND_SENDER, kill) }
  :: atomic { budget > 0 -> budget = 0 } /* and that was all */
  od
}

init {
  atomic {
    in_use[0] = true; holder[0] = 0;
    in_use[1] = true; holder[1] = 1;
    in_use[2] = true; holder[2] = FIRST_SENDER;
    pid_of[0] = run Receiver(0, 0);
    pid_of[1] = run Receiver(1, 1);
    pid_of[LATER] = run Receiver(LATER, 0);
    pid_of[FIRST_SENDER] = run Sender(FIRST_SENDER, 0, FIRST_MESSAGES);
    pid_of[SECOND_SENDER] = run Sender(SECOND_SENDER, 1, 1)
  }
}

#define WAITS(process) ((sleeps & BIT(process)) && !OUT_OF_THE_WAY(process))
#define RECEIVER_WAITS (WAITS(0) || WAITS(1) || WAITS(LATER))
#define GONE(slot) (!in_use[slot] || (dead & BIT(holder[slot])))
#define NOBODY_HAS_IT(lane) (!EMPTY(lane) && in_hand[lane] == 0)

active proctype Judge() {
  timeout;
  assert(!(RECEIVER_WAITS && (NOBODY_HAS_IT(0) || NOBODY_HAS_IT(1)) && !(owes & stop)));
  assert(!(RECEIVER_WAITS && (closed || (dead & BIT(OWNER))) && GONE(2) && GONE(3) && ALL_EMPTY && !(owes & stop)));
  assert(!(WAITS(FIRST_SENDER) && FREE_AGAIN(lease[0]) && !(owes & stop)))
}
