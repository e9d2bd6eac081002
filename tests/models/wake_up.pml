/* SPDX-License-Identifier: MIT
 * The wake-up of a lane's reader, over deaths of both ends (docs/lane.md, docs/architecture.md).
 *
 * A sender publishes, then looks whether the reader sleeps, then whether the keeper's word has moved. A reader says that it
 * sleeps, looks once more, then sleeps on its bell. Each incarnation of it has a file of its own for its sleep counter; the
 * sender looks into the one that it knows, which may be a dead reader's. Claim: when nothing moves any more, nothing lies in
 * the lane. Each variant below leaves out one step and must be refuted.
 *
 * Memory is TSO: every store goes through a buffer of one entry, and loads may overtake it (Sewell, Sarkar, Owens,
 * Zappa Nardelli, Myreen: x86-TSO, CACM 2010). A sequentially consistent store waits until its buffer is empty.
 */
#define MESSAGES 2
#ifndef DEATHS
#define DEATHS 1 /* of readers. Two: 61,592,262 states and 0 errors, by hand on 2026-11-22; it takes 9 GB */
#endif
#define READERS 3

byte tail;            /* the sender's word: messages published */
byte head;            /* the reader's: acknowledged. The next incarnation begins here */
byte asleep[READERS]; /* each incarnation's own: odd while it sleeps */
byte notice;          /* the keeper's word for the sender */
byte known;           /* the incarnation whose file the keeper gives out */
bool bell;            /* the reader's: rung, and nobody has woken by it yet */

byte tail_buffer;
bool tail_waits;
byte asleep_buffer[READERS];
bool asleep_waits[READERS];

bool served[READERS]; /* its first pull */
bool kill_reader[READERS];
bool kill_sender;
byte present; /* incarnation */
chan keeper = [4] of { mtype, byte };
mtype = { pull, reader_died, sender_died };

active proctype Memory() {
end:
  do
  :: atomic { tail_waits -> tail = tail_buffer; tail_waits = false }
  :: atomic { asleep_waits[0] -> asleep[0] = asleep_buffer[0]; asleep_waits[0] = false }
  :: atomic { asleep_waits[1] -> asleep[1] = asleep_buffer[1]; asleep_waits[1] = false }
  :: atomic { asleep_waits[2] -> asleep[2] = asleep_buffer[2]; asleep_waits[2] = false }
  od
}

inline store_asleep(me, value) {
  atomic { !asleep_waits[me] -> asleep_buffer[me] = value; asleep_waits[me] = true }
}

proctype Reader(byte me) {
  byte count = 0; /* its sleep counter */
  {
    keeper!pull(me);
    served[me];
    do
    :: head < tail -> head++
    :: else ->
      count++;
      store_asleep(me, count);
#ifndef NO_FENCE_AT_READER
      !asleep_waits[me];
#endif
      if
      :: head < tail
      :: else -> atomic { bell -> bell = false }
      fi;
      count++;
      store_asleep(me, count)
    od
  } unless { kill_reader[me] };
  keeper!reader_died(me)
}

/* Learns of a new incarnation, if the word has moved. */
inline catch_up() {
  if
  :: notice != seen ->
    seen = notice;
    file = known;
    rung = 0;
#ifndef NO_RING_AT_ATTACH
    if
    :: head != sent -> bell = true
    :: else
    fi
#endif
  :: else
  fi
}

active proctype Sender() {
  byte sent = 0;
  byte file = 0; /* whose sleep counter it looks at */
  byte seen = 0;
  byte rung = 0; /* for that value it has rung */
  byte value;
  {
    do
    :: sent < MESSAGES ->
      catch_up();
      atomic { !tail_waits -> sent++; tail_buffer = sent; tail_waits = true };
#ifndef NO_FENCE_AT_SENDER
      !tail_waits;
#endif
      value = asleep[file];
      if
      :: value % 2 == 1 && value != rung -> rung = value; bell = true
      :: else
      fi;
#ifndef NO_LOOK_BEHIND
      catch_up()
#endif
    :: else -> break
    od /* from here on it does other things, and never looks again */
  } unless { kill_sender };
  if
  :: kill_sender -> keeper!sender_died(0)
  :: else
  fi
}

active proctype Keeper() {
  byte who;
  run Reader(0);
end:
  do
  :: keeper?pull(who) ->
    if
    :: who != present /* killed meanwhile */
    :: else ->
      known = who;
#ifdef NO_WORD_BEFORE_THE_FIRST_LOOK
      served[who] = true;
      notice++
#else
      notice++;
      served[who] = true
#endif
    fi
  :: keeper?reader_died(who) ->
    !asleep_waits[who];
    present = who + 1;
    run Reader(present)
  :: keeper?sender_died(_) ->
    !tail_waits; /* what the dead has stored is there */
#ifndef NO_KNOCK
    bell = true
#endif
  od
}

active proctype Killer() {
  byte deaths = 0;
  do
  :: atomic { deaths < DEATHS && present == deaths -> kill_reader[deaths] = true; deaths++ }
  :: atomic { !kill_sender -> kill_sender = true }
  :: break
  od
}

active proctype Judge() {
  timeout;
  assert(head == tail && !tail_waits)
}
