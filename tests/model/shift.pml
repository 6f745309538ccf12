/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shift: one TCP connection on which XDP answers some of the client's requests itself.
 *
 * The client, XDP, the server's socket, egress and the agent are processes with short queues
 * between them. Their steps may interleave in any order. The network loses segments, delays them,
 * and repeats them late, up to FAULTS times. A request is one unit of sequence space (L), an answer
 * P units, a FIN one unit. C is the client's numbering, S the socket's. Each time XDP looks at a
 * request, the limit may or may not be exceeded, so XDP may answer any request, or let it pass to
 * the agent.
 *
 * Checked:
 *   The agent reads exactly the requests that XDP has not answered, in order (agent_check).
 *   Every unit that the client receives is the right unit of the right answer (client_take).
 *   No side acknowledges what was not sent.
 *   The client gets every answer or, if the agent closes, an orderly FIN, without a deadlock and
 *	without more than MAXRTO timeouts in a row that bring no progress.
 *
 * -DNO_... leaves out a rule of the protocol; tests/model/run shows which are needed. Not modelled:
 * wrap of sequence numbers, windows, SACK, RST, reuse of a flow, and records that another CPU reads
 * while they are half changed.
 */
#ifndef N
#define N 3 /* requests */
#endif
#ifndef P
#define P 2 /* units in an answer */
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef SPURIOUS
#define SPURIOUS 1 /* spurious retransmissions */
#endif
#ifndef XDPS
#define XDPS 1 /* CPUs that may handle the flow's packets */
#endif
#ifndef WINDOW
#define WINDOW 2 /* requests that the client has outstanding */
#endif
#define MAXRTO 4

#define L 1
#define IN N /* the first number of the client's stream: the shift never goes below 0 */
#define OUT (N * P)
#define FIN (IN + N)	  /* the client's last unit */
#define XDP_SOURCE 128	  /* content from XDP, not from the socket's write buffer */
#define NET 2		  /* capacity of each queue */
#ifndef RX
#define RX NET
#endif

chan c2x = [NET] of { byte, byte, byte };	/* C seq, length, C ack; the content is the number */
chan rxq = [RX] of { byte, byte, byte, byte }; /* S seq, length, S ack, content as C seq */
chan txq = [NET] of { byte, byte, byte };	/* S seq, length, S ack; the content is in sbuf */
chan x2c = [NET] of { byte, byte, byte, byte }; /* C seq, length, C ack, content */

/* A segment that the network delivers at any later time; one in each direction. */
typedef segment {
	bool taken;
	byte seq, n, ack, from
};
segment late, back;

/* The client. */
byte c_una = IN, c_nxt = IN, c_rcv = OUT;
short c_held;	    /* units received out of order, from c_rcv on */
byte c_fin;	    /* C number of the server's FIN, once received */
bool c_ackdue, c_done;

/* The server's socket. */
byte snd_una = OUT, snd_nxt = OUT, write_seq = OUT, rcv_nxt = IN, copied = IN;
byte held;	    /* bits: received out of order, from IN on */
byte rbuf[N + 1];   /* content received, from IN on */
byte sbuf[N];	    /* which request each answer in the write buffer belongs to */
byte fin_at;	    /* S number of the FIN in the write buffer */
bool ackdue;

/* The agent. */
byte parsed = IN;   /* S: handled up to here */
byte answered = IN; /* published; as an S number */
byte last_id;	    /* last request read */
bool may_close, closed;

/* The record that XDP, egress and the agent share. */
bool enrolled;
byte in_pos = IN, in_old, in_new;
byte out_pos = OUT, out_old, out_new;
byte pending;	    /* L while the client has not acknowledged XDP's answer */
byte in_end;	    /* 0: unknown */
byte stale;	    /* segments passed before enrolment that have not reached the socket yet */
byte egress_end;    /* 0: unknown */
bool busy, agent_claim;
bool hooked = true; /* segments leave by the device on which egress translates them */
byte swallowed;	    /* bits: requests answered by XDP (for the checks only) */

byte faults = FAULTS, spurious = SPURIOUS;
byte rto, rto_of; /* timeouts since the last progress; which side had the last one */
byte working;	    /* XDP instances that are processing a segment */

/* Temporaries; they have no meaning between steps. */
hidden byte t, u, w, e_seq, e_n, e_ack, k_seq, k_n, k_ack, k_c, r_seq, r_n, r_ack, r_c;

#ifdef CLIENT_FIN
#define ANSWERS_END (OUT + N * P + 1)
#else
#define ANSWERS_END (OUT + N * P)
#endif

#define QUIET                                                                                      \
	(len(c2x) + len(rxq) + len(txq) + len(x2c) == 0 && !ackdue && !c_ackdue && working == 0 && \
	 snd_nxt == write_seq && (closed || answered == rcv_nxt))

/* Timers fire when nothing else can happen. If both are due, they take turns. */
#define CLIENT 1
#define KERNEL 2
#define CLIENT_DUE (!c_done && c_una < c_nxt)
#define KERNEL_DUE (!c_done && snd_una < snd_nxt)
#define CLIENT_TIMEOUT (QUIET && CLIENT_DUE && !(KERNEL_DUE && rto_of == CLIENT))
#define KERNEL_TIMEOUT (QUIET && KERNEL_DUE && !(CLIENT_DUE && rto_of == KERNEL))
#define PROGRESS rto = 0; rto_of = 0

inline timeout_of(whose)
{
	rto++;
	rto_of = whose;
	assert(rto <= MAXRTO)
}

/* C: the swallowed request that waits for the client's acknowledgement; empty if none does. */
#ifdef NO_ACK_HOLD
#define NOT_YET 0 /* in_new includes it from the start */
#else
#define NOT_YET pending
#endif
#define REQUEST_END (in_pos + in_new - in_old + NOT_YET)
#define REQUEST_START (REQUEST_END - pending)

inline left_rxq()
{
	stale = (stale > 0 -> stale - 1 : 0)
}

/* --- the network ------------------------------------------------------------------------------ */

active proctype network()
{
end:	do
#ifndef FAULTS_OUT
	:: d_step { faults > 0 && len(c2x) > 0 -> c2x?_, _, _; faults--; PROGRESS }
	:: d_step { faults > 0 && len(rxq) > 0 ->
		rxq?_, _, _, _; left_rxq(); faults--; PROGRESS }
	/* A segment is delayed, or a copy of it is. */
	:: d_step { faults > 0 && len(c2x) > 0 && !late.taken -> faults--; late.taken = true;
		c2x?late.seq, late.n, late.ack }
	:: d_step { faults > 0 && len(c2x) > 0 && !late.taken -> faults--; late.taken = true;
		c2x?<late.seq, late.n, late.ack> }
	:: d_step { late.taken && len(c2x) < NET ->
		c2x!late.seq, late.n, late.ack;
		late.taken = false; late.seq = 0; late.n = 0; late.ack = 0 }
#endif
#ifndef FAULTS_IN
	:: d_step { faults > 0 && len(x2c) > 0 -> x2c?_, _, _, _; faults--; PROGRESS }
	:: d_step { faults > 0 && len(x2c) > 0 && !back.taken -> faults--; back.taken = true;
		x2c?back.seq, back.n, back.ack, back.from }
	:: d_step { faults > 0 && len(x2c) > 0 && !back.taken -> faults--; back.taken = true;
		x2c?<back.seq, back.n, back.ack, back.from> }
	:: d_step { back.taken && len(x2c) < NET ->
		x2c!back.seq, back.n, back.ack, back.from;
		back.taken = false; back.seq = 0; back.n = 0; back.ack = 0; back.from = 0 }
#endif
	od
}

/* --- the client ------------------------------------------------------------------------------- */

inline client_send(first, count)
{
	c2x!first, count, c_rcv;
	c_ackdue = false
}

/* Receive unit number @at with content @from. If @at is old, the content is ignored. */
inline client_take(at, from)
{
	if
	:: at < c_rcv || (c_held >> (at - c_rcv)) & 1 -> skip
	:: else ->
		if
		:: from < XDP_SOURCE && fin_at != 0 && from == fin_at ->
			assert(c_fin == 0 || c_fin == at); /* the FIN's number never changes */
			assert((c_held >> (at - c_rcv)) == 0);
			assert((at - OUT) % P == 0);
			c_fin = at
		:: from < XDP_SOURCE && !(fin_at != 0 && from == fin_at) ->
			assert(c_fin == 0 || at < c_fin);
			assert(at == OUT + (sbuf[(from - OUT) / P] - IN) * P + (from - OUT) % P)
		:: else ->
			assert(c_fin == 0 || at < c_fin);
			assert(at == from - XDP_SOURCE)
		fi;
		c_held = c_held | (1 << (at - c_rcv))
	fi
}

inline client_receive()
{
	x2c?r_seq, r_n, r_ack, r_c;
	assert(r_ack <= c_nxt);
	if
	:: r_ack > c_una -> c_una = r_ack; PROGRESS
	:: else
	fi;
	u = 0;
	do
	:: u < r_n -> client_take(r_seq + u, r_c + u); u++
	:: else -> break
	od;
	do
	:: c_held & 1 -> c_held = c_held >> 1; c_rcv++; PROGRESS
	:: else -> break
	od;
	c_ackdue = c_ackdue || r_n > 0
}

active proctype client()
{
	do
	:: d_step { len(x2c) > 0 -> client_receive() }
	:: d_step { c_ackdue && len(c2x) < NET -> client_send(c_nxt, 0) }
	:: d_step { c_nxt < FIN && c_nxt - IN < (c_rcv - OUT) / P + WINDOW && len(c2x) < NET && c_fin == 0 ->
		client_send(c_nxt, 1); c_nxt++ }
#ifdef CLIENT_FIN
	:: d_step { c_nxt == FIN && len(c2x) < NET -> client_send(FIN, 1); c_nxt++ }
#endif
	/* Spurious retransmissions: of the first unit, of the second, of both. */
	:: d_step { spurious > 0 && c_una < c_nxt && len(c2x) < NET -> spurious--; client_send(c_una, 1) }
	:: d_step { spurious > 0 && c_una + 1 < c_nxt && len(c2x) < NET ->
		spurious--; client_send(c_una + 1, 1) }
	:: d_step { spurious > 0 && c_una + 1 < c_nxt && len(c2x) < NET ->
		spurious--; client_send(c_una, 2) }
	/* The retransmission timer fires. */
	:: d_step { CLIENT_TIMEOUT -> timeout_of(CLIENT); client_send(c_una, 1) }
	:: d_step { CLIENT_TIMEOUT && c_una + 1 < c_nxt -> timeout_of(CLIENT); client_send(c_una, 2) }
	:: d_step { c_rcv == ANSWERS_END || (c_fin != 0 && c_rcv > c_fin) -> c_done = true }; break
	od;
#ifdef CLIENT_FIN
	assert(c_rcv == ANSWERS_END)
#endif
end:	do
	:: d_step { len(x2c) > 0 -> client_receive(); c_ackdue = false }
	od
}

/* --- XDP -------------------------------------------------------------------------------------- */

/* w = the S number for the client's number @number; @bare: from a segment without data. */
inline in_number(number, bare)
{
	if
	:: number < in_pos -> w = number - in_old
	:: number >= in_pos && pending && bare && number >= REQUEST_END -> w = number - in_new - NOT_YET
	:: else -> w = number - in_new
	fi
}

/* t = the S number for the client's acknowledgement @a. */
inline in_ack(a)
{
	if
	:: a >= out_new + out_pos -> t = a - out_new
#ifdef NO_ACK_CLAMP
	:: else -> t = a - out_old
#else
	:: else -> t = (a - out_old < out_pos -> a - out_old : out_pos)
#endif
	fi
}

inline xdp_pass()
{
	if
	:: enrolled ->
		in_number(seq, n == 0);
		in_ack(ack);
		rxq!w, n, t, seq;
		in_end = (n > 0 && seq + n > in_end -> seq + n : in_end)
	:: else -> rxq!seq, n, ack, seq
	fi
}

inline xdp_answer()
{
	x2c!(out_pos + out_new - P), P, REQUEST_END, (XDP_SOURCE + OUT + (REQUEST_START - IN) * P)
}

inline end_pending()
{
	if
	:: enrolled && pending && ack >= out_pos + out_new ->
#ifndef NO_ACK_HOLD
		in_new = in_new + pending;
#endif
		pending = 0;
		PROGRESS
	:: else
	fi
}

#ifdef NO_PENDING
#define HELD_UP false
#else
#define HELD_UP (pending && seq + n > REQUEST_START)
#endif

inline xdp_sort()
{
	end_pending();
	if
	:: !enrolled || n == 0 -> xdp_pass()
#ifndef NO_BUSY
	:: enrolled && n > 0 && busy -> skip /* another CPU has the flow: the segment is dropped */
#endif
	:: else ->
		if
#ifndef NO_PENDING
		:: HELD_UP ->
			if
#ifndef NO_REPEAT
			:: seq <= REQUEST_START -> xdp_answer()
#else
			:: seq <= REQUEST_START -> skip
#endif
#ifdef NO_DROP_PENDING
			:: seq > REQUEST_START -> xdp_pass()
#else
			:: seq > REQUEST_START -> skip
#endif
			fi
#endif
#ifndef NO_SPAN
		:: !HELD_UP && seq < in_pos && seq + n > in_pos -> skip
#endif
		:: else ->
			if
			:: (
#ifndef NO_IN_END
				seq == in_end &&
#endif
#ifndef NO_GRACE
				stale == 0 && /* in the program: the enrolment is some time ago */
#endif
#ifndef NO_CLAIM
				!agent_claim &&
#endif
#ifndef NO_PENDING
				!pending &&
#endif
				n == 1 && seq < FIN) -> candidate = true; busy = true
			:: else -> xdp_pass()
			fi
		fi
	fi
}

/* Whether the socket is idle and the record can take one more answer. */
inline xdp_look()
{
	in_number(seq, false);
	in_ack(ack);
	fit = (
#ifndef NO_RCV_NXT
		rcv_nxt == w &&
#endif
#ifndef NO_COPIED
		copied == rcv_nxt &&
#endif
#ifndef NO_OOO
		held == 0 &&
#endif
#ifndef NO_WRITE_SEQ
		snd_nxt == write_seq &&
#endif
#ifdef NO_ACK_EXACT
		snd_nxt == t && /* clamped: also true for an ack from before XDP's last answer */
#elif !defined(NO_ACK_CURRENT)
		snd_nxt + out_new == ack &&
#endif
#if !defined(NO_ANSWERED) && !defined(NO_TOLD_FIRST)
		told == rcv_nxt && /* bytes_received */
#endif
#ifndef NO_EGRESS_END
		egress_end == snd_nxt &&
#endif
#ifndef NO_POSITION
		(snd_nxt == out_pos || out_old == out_new || snd_una >= out_pos) &&
#endif
		true);
	at = snd_nxt
}

inline xdp_commit()
{
	if
	:: seq != REQUEST_START -> in_old = in_new; in_pos = seq
	:: else
	fi;
	if
	:: at != out_pos -> out_old = out_new; out_pos = at
	:: else
	fi;
	out_new = out_new + P;
	pending = L;
#ifdef NO_ACK_HOLD
	in_new = in_new + L;
#endif
	in_end = seq + L;
	swallowed = swallowed | (1 << (seq - IN));
	x2c!ack, P, (seq + L), (XDP_SOURCE + OUT + (seq - IN) * P);
	PROGRESS
}

inline xdp_done()
{
	seq = 0; n = 0; ack = 0; told = 0; at = 0; fit = false; candidate = false; working--
}

proctype xdp()
{
	byte seq, n, ack, told, at;
	bool fit, candidate;

end:	do
	:: d_step { len(c2x) > 0 && len(rxq) < RX && len(x2c) < NET ->
		c2x?seq, n, ack; working++; xdp_sort();
		if
		:: !candidate -> xdp_done()
		:: else
		fi
	   };
	   if
	   :: !candidate
	   :: d_step { candidate && len(rxq) < RX -> xdp_pass(); busy = false; xdp_done() }
	   :: d_step { candidate -> told = answered };
		d_step { xdp_look() };
#ifdef NO_TOLD_FIRST
		d_step { fit = fit && answered == rcv_nxt };
#endif
		if
		:: d_step { fit && len(x2c) < NET -> xdp_commit(); busy = false; xdp_done() }
		:: d_step { !fit && len(rxq) < RX -> xdp_pass(); busy = false; xdp_done() }
		fi
	   fi
	od
}

/* --- the server's socket ---------------------------------------------------------------------- */

inline kernel_take(at, from)
{
	if
	:: at >= rcv_nxt && !((held >> (at - IN)) & 1) ->
		assert(at <= FIN);
		rbuf[at - IN] = from;
		held = held | (1 << (at - IN))
	:: else
	fi
}

inline kernel_receive()
{
	rxq?k_seq, k_n, k_ack, k_c;
	left_rxq();
	if
	:: k_seq + k_n < rcv_nxt -> ackdue = true /* outside the window: its ack is ignored */
	:: else ->
		assert(k_ack <= snd_nxt);
		if
		:: k_ack > snd_una -> snd_una = k_ack; PROGRESS
		:: else
		fi;
		u = 0;
		do
		:: u < k_n -> kernel_take(k_seq + u, k_c + u); u++
		:: else -> break
		od;
		do
		:: (held >> (rcv_nxt - IN)) & 1 ->
			held = held & ~(1 << (rcv_nxt - IN)); rcv_nxt++; PROGRESS
		:: else -> break
		od;
		ackdue = ackdue || k_n > 0
	fi
}

inline kernel_send(first, count)
{
	txq!first, count, rcv_nxt;
	ackdue = false
}

active proctype kernel()
{
end:	do
	:: d_step { len(rxq) > 0 -> kernel_receive() }
	:: d_step { ackdue && len(txq) < NET -> kernel_send(snd_nxt, 0) }
	:: d_step { snd_nxt < write_seq && len(txq) < NET ->
		kernel_send(snd_nxt, write_seq - snd_nxt); snd_nxt = write_seq }
#ifdef SPLIT
	:: d_step { snd_nxt + 1 < write_seq && len(txq) < NET -> kernel_send(snd_nxt, 1); snd_nxt++ }
#endif
	:: d_step { spurious > 0 && snd_una < snd_nxt && len(txq) < NET ->
		spurious--; kernel_send(snd_una, snd_nxt - snd_una) }
	:: d_step { spurious > 0 && snd_una + P < snd_nxt && len(txq) < NET ->
		spurious--; kernel_send(snd_una, P) }
	:: d_step { KERNEL_TIMEOUT -> timeout_of(KERNEL); kernel_send(snd_una, snd_nxt - snd_una) }
	:: d_step { KERNEL_TIMEOUT && snd_una + P < snd_nxt ->
		timeout_of(KERNEL); kernel_send(snd_una, P) }
	od
}

/* --- egress ----------------------------------------------------------------------------------- */

inline egress()
{
	txq?e_seq, e_n, e_ack;
	if
	:: enrolled && hooked ->
		egress_end = e_seq + e_n;
		t = (e_ack < in_pos - in_old -> e_ack + in_old : e_ack + in_new);
		w = ((e_n > 0 && e_seq + e_n > out_pos) || (e_n == 0 && e_seq >= out_pos) ->
			e_seq + out_new : e_seq + out_old);
		x2c!w, e_n, t, e_seq
	:: else -> x2c!e_seq, e_n, e_ack, e_seq
	fi
}

active proctype tc()
{
end:	do
	:: d_step { len(txq) > 0 && len(x2c) < NET -> egress() }
	od
}

/* --- the agent -------------------------------------------------------------------------------- */

/* The agent must read every request that XDP did not answer, exactly once, in order. */
inline agent_check(id)
{
	assert(id >= last_id);
	u = last_id;
	do
	:: u < id -> assert((swallowed >> (u - IN)) & 1); u++
	:: else -> break
	od;
	assert(id == FIN || !((swallowed >> (id - IN)) & 1));
	last_id = id + 1
}

/*
 * A FIN behind unacknowledged bytes may be retransmitted together with them, and XDP's pending
 * answer would lie in between. No single offset is right for both ends of such a segment.
 */
#ifdef NO_CLOSE_ACKED
#define CLOSE_SAFE true
#else
#define CLOSE_SAFE (!pending || snd_una == write_seq)
#endif

inline agent_write_fin()
{
	fin_at = write_seq;
	write_seq++
}

active proctype agent()
{
	byte id;

end:	do
	:: d_step { copied < rcv_nxt && !closed -> copied = rcv_nxt }
#ifdef NO_PUBLISH_LAST
	:: d_step { answered < copied && answered == parsed && !closed -> answered++ }
	:: d_step { parsed < copied && answered == parsed + 1 && !closed ->
#else
	:: d_step { parsed < copied && answered == parsed && !closed ->
#endif
		id = rbuf[parsed - IN];
		agent_check(id);
		parsed++;
		if
		:: id == FIN -> agent_write_fin(); answered = parsed; closed = true
		:: else -> sbuf[(write_seq - OUT) / P] = id; write_seq = write_seq + P
		fi;
		id = 0 }
	:: d_step { answered < parsed -> answered = parsed }
#ifdef ENROL
	:: d_step { !enrolled && parsed > IN -> enrolled = true; stale = len(rxq) }
#endif
#ifdef IDLE
	:: d_step { may_close && parsed > IN && parsed == copied && answered == parsed && !closed ->
		may_close = false; agent_claim = true };
		if
#ifdef NO_CLAIM
		:: d_step { true -> agent_write_fin(); closed = true }
#else
		:: d_step { !busy && CLOSE_SAFE -> agent_write_fin(); closed = true }
		:: d_step { !busy -> agent_claim = false }
#endif
		fi
#endif
	od
}

init {
	d_step {
		last_id = IN;
		may_close = true;
#ifndef ENROL
		enrolled = true
#endif
	};
#ifdef ROUTE
	hooked = false;
#endif
	atomic {
		run xdp();
#if XDPS > 1
		run xdp()
#endif
	}
}
