/* One direction of a lane (ipc/lane/ring.h, wake.h): publish, arm, starve, and the death of either side at
 * any step.
 *
 * SPIN interleaves sequentially consistent steps, so each side's store buffer is modelled: a plain store
 * enters a FIFO and reaches memory later, in its own time (x86-TSO; a release store is a plain store
 * there). A full fence and an exchange wait until the side's own buffer is empty. Loads read memory:
 * neither side reads back a word that it stores plainly while that word is shared (each keeps its own
 * index), so no forwarding is needed.
 *
 * A killed side's buffer still drains (the processor retires its stores), and its successor starts after
 * that.
 *
 * Checked: no message is lost, torn, or handled out of order; a message handled twice is one that its
 * consumer died on; and nobody sleeps for ever while there is something for it to do (an invalid end state,
 * and the property all_delivered under weak fairness).
 *
 * Variants that must be found wrong (verify_lane.sh): NO_FENCE_WAKER, NO_FENCE_SLEEPER, NO_RECHECK,
 * HEAD_FIRST, SEQ_FIRST, NO_ROOM_WAKE, NO_WAKE_ON_ATTACH.
 */
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#define SLOTS 2
#ifndef BUFFER
#define BUFFER 2
#endif

/* Addresses of shared words. */
#define SEQ 0      /* + slot: index + 1 of the message in it, 0 when fresh */
#define BODY 2     /* + slot: what the message says; here index + 1 as well */
#define HEAD 4
#define ARMED 5
#define STARVED 6
#define WORDS 7

byte memory[WORDS];
chan producer_buffer = [BUFFER] of { byte, byte };
chan consumer_buffer = [BUFFER] of { byte, byte };

bool consumer_signal = false;  /* the eventfds: a pending signal or none */
bool producer_signal = false;

byte delivered = 0;            /* messages handled for the first time; numbers repeat only below it */
byte deaths = 0;
bool producer_dies = false;
bool consumer_dies = false;

/* A store that enters the buffer; when the buffer is full the side waits for a slot in it. */
#define STORE(buffer, address, value) buffer ! address, value
#define FENCE(buffer) empty(buffer)

proctype drain_producer_buffer() {
  byte address, value;
end:
  do
  :: atomic { producer_buffer ? address, value -> memory[address] = value; address = 0; value = 0 }
  od
}

proctype drain_consumer_buffer() {
  byte address, value;
end:
  do
  :: atomic { consumer_buffer ? address, value -> memory[address] = value; address = 0; value = 0 }
  od
}

/* wake_sleeper: look at the flag, then exchange it (a locked operation: the buffer is empty) and signal. */
inline wake_consumer() {
  if
  :: memory[ARMED] == 0
  :: memory[ARMED] == 1 ->
    if
    :: atomic { empty(producer_buffer) && memory[ARMED] == 1 -> memory[ARMED] = 0 };
       consumer_signal = true
    :: atomic { empty(producer_buffer) && memory[ARMED] == 0 -> skip }
    fi
  fi
}

inline wake_producer() {
  if
  :: memory[STARVED] == 0
  :: memory[STARVED] == 1 ->
    if
    :: atomic { empty(consumer_buffer) && memory[STARVED] == 1 -> memory[STARVED] = 0 };
       producer_signal = true
    :: atomic { empty(consumer_buffer) && memory[STARVED] == 0 -> skip }
    fi
  fi
}

inline fence_of_waker(buffer) {
#ifdef NO_FENCE_WAKER
  skip
#else
  FENCE(buffer)
#endif
}

inline fence_of_sleeper(buffer) {
#ifdef NO_FENCE_SLEEPER
  skip
#else
  FENCE(buffer)
#endif
}

/* One life of the producer: recovery, then messages until all are published. */
proctype producer() {
  byte tail = 0;       /* RingProducer::tail_ */
  byte head = 0;       /* its cached copy of the consumer's head */
  bool sleeps = false;

  {
    /* recover(): behind the last message whose slot says so. */
    head = memory[HEAD];
    tail = head;
    do
    :: tail - head < SLOTS && memory[SEQ + tail % SLOTS] == tail + 1 -> tail++
    :: else -> break
    od;
#ifndef NO_WAKE_ON_ATTACH
    consumer_signal = true;
#endif
    do
    :: tail == MESSAGES -> break
    :: tail < MESSAGES ->
      head = memory[HEAD];
      if
      :: tail - head < SLOTS ->
        /* try_send and publish: the body, then the word that publishes it. */
#ifdef SEQ_FIRST
        STORE(producer_buffer, SEQ + tail % SLOTS, tail + 1);
        STORE(producer_buffer, BODY + tail % SLOTS, tail + 1);
#else
        STORE(producer_buffer, BODY + tail % SLOTS, tail + 1);
        STORE(producer_buffer, SEQ + tail % SLOTS, tail + 1);
#endif
        tail++;
        fence_of_waker(producer_buffer);
        wake_consumer()
      :: else ->
        /* arm() with a full ring: announce the sleep, look again, sleep. */
        STORE(producer_buffer, STARVED, 1);
        fence_of_sleeper(producer_buffer);
#ifdef NO_RECHECK
        sleeps = true;
#else
        sleeps = (tail - memory[HEAD] >= SLOTS);
#endif
        if
        :: sleeps -> atomic { producer_signal -> producer_signal = false }
        :: else
        fi;
        STORE(producer_buffer, STARVED, 0)
      fi
    od
  } unless { producer_dies };

  /* The kernel reports a death after the dead one's stores; the supervisor then starts the next life. */
  if
  :: atomic { producer_dies && empty(producer_buffer) -> producer_dies = false; run producer() }
  :: tail == MESSAGES && !producer_dies
  fi
}

/* One life of the consumer: goes on from the stored head until all messages are handled. */
proctype consumer() {
  byte head = 0;
  byte body = 0;
  bool sleeps = false;
  bool fresh = true;       /* nothing handled in this life yet: only then may a number repeat */

  {
    head = memory[HEAD];
    producer_signal = true;
    do
    :: head == MESSAGES -> break
    :: head < MESSAGES ->
      if
      :: memory[SEQ + head % SLOTS] == head + 1 ->
#ifdef HEAD_FIRST
        STORE(consumer_buffer, HEAD, head + 1);
        FENCE(consumer_buffer);
#endif
        body = memory[BODY + head % SLOTS];
        assert(body == head + 1);                    /* not torn, not overwritten */
        /* The handler: accept the number, or drop it as a repeat. */
        atomic {
          assert(head <= delivered);                 /* nothing before it is lost */
          assert(head == delivered || fresh);        /* a repeat only after a death */
          if
          :: head == delivered -> delivered++; fresh = false
          :: else
          fi
        };
        head++;
#ifndef HEAD_FIRST
        STORE(consumer_buffer, HEAD, head);
#endif
#ifndef NO_ROOM_WAKE
        fence_of_waker(consumer_buffer);
        wake_producer()
#endif
      :: else ->
        STORE(consumer_buffer, ARMED, 1);
        fence_of_sleeper(consumer_buffer);
#ifdef NO_RECHECK
        sleeps = true;
#else
        sleeps = (memory[SEQ + head % SLOTS] != head + 1);
#endif
        if
        :: sleeps -> atomic { consumer_signal -> consumer_signal = false }
        :: else
        fi;
        STORE(consumer_buffer, ARMED, 0)
      fi
    od
  } unless { consumer_dies };

  if
  :: atomic { consumer_dies && empty(consumer_buffer) -> consumer_dies = false; run consumer() }
  :: head == MESSAGES && !consumer_dies
  fi
}

/* Up to DEATHS times, at any moment, one side is killed. It is free not to. */
proctype killer() {
  do
  :: atomic { deaths < DEATHS && !producer_dies -> deaths++; producer_dies = true }
  :: atomic { deaths < DEATHS && !consumer_dies -> deaths++; consumer_dies = true }
  :: break
  od
}

init {
  atomic {
    run drain_producer_buffer();
    run drain_consumer_buffer();
    run producer();
    run consumer();
    run killer()
  }
}

ltl all_delivered { <> (delivered == MESSAGES) }
