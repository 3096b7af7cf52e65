/*
 * session_own - what the files of a session share: session.c is its life and the
 * connection's events, session_seek.c the way to an address, session_talk.c the
 * SMTP client's events, session_mail.c the transactions and what their replies
 * lead to.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "delivery/outcome.h"
#include "delivery/react.h"
#include "delivery/session.h"
#include "delivery/target.h"
#include "smtp/smtp_body.h"

#define SESSION_CLOSE_TIMEOUT_US (1 * US_PER_S)     /* for the peer to end a connection that it knows is over */

enum session_state { SEEKING, CONNECTING, TALKING, OPEN, PARTING, QUITTING, OVER };

struct session {
	struct queue_slot   slot;
	struct list         node;               /* delivery->sessions */
	struct delivery    *delivery;
	char                helo[DOMAIN_MAX];   /* what it calls itself, as when it connected */
	enum session_state  state;
	uint64_t            number;             /* in a trace */
	unsigned            depth;              /* events on the stack */
	struct conn        *conn;
	bool                client_live;
	bool                in_tls_handshake;
	bool                pumping;
	bool                clear_tried;
	bool                no_tls;             /* an opportunistic handshake failed: this address again, in clear */
	bool                connect_paid;       /* the queue paid for the first connection */
	mono_us_t           connect_paid_at;
	bool                has_address;        /* SEEKING: `at`, which is not dialed yet */
	struct target       target;
	struct endpoint     at;
	char                host[DOMAIN_MAX];
	char                address[IP_TEXT_MAX], local[IP_TEXT_MAX];
	char                esmtp[128];
	bool                any_failed;
	struct timer        timer;
	enum setting_id     timeout;            /* what the timer stands for; SETTINGS_N: no setting */
	bool                owes_anew;          /* the peer owes an answer whose time has not begun */
	unsigned            replies;            /* of the client's, as far as the timer knows */
	unsigned            errors;             /* replies 4xx and 5xx to recipients */
	bool                leaves;             /* it takes no further message */
	struct ip           source;             /* bound; family IP_NONE: the system's choice */
	bool                sources_off;        /* an address was passed over for want of a source */
	/* recipients that go to the next host, SENDING; and why */
	struct rcpt       **carried;
	struct duration_list *carried_floors;   /* of each */
	unsigned            carried_n;
	/* the transaction under way */
	struct envelope     envelope;
	struct spool_reader reader;
	struct smtp_client_message message;
	struct rcpt       **rcpts;
	bool               *refused_here;       /* the peer was not asked: by recipient */
	bool                in_transaction, body_wanted;
	struct arena        arena;              /* its own; lent by delivery */
	struct smtp_body_guard guard;           /* of the body that is being sent */
	bool                half_sent;          /* the peer has part of a body: no command would be read as one */
	/* from here on as the one before left it: see session_start() */
	struct smtp_client  client;             /* begun anew by each connection */
	struct smtp_reply   last;               /* why the last address failed: any_failed */
	struct smtp_reply   carried_reply;
};

static inline struct now session_now(const struct session *s) { return loop_now(s->delivery->shard->loop); }
/* What is in force for its queue now. Only while it has its slot. */
static inline const struct queue_settings *session_settings(const struct session *s) { return queue_settings_now(s->slot.lane->queue); }

/* session_mail.c */
void session_finish(struct session *s, const struct smtp_reply *broken);        /* every recipient has its answer */
void session_break(struct session *s, const struct smtp_reply *reply, bool by_peer);    /* no more answers will come; by_peer: policy looks at it */
void session_put_back(struct session *s);                                       /* the recipients wait as if nothing had begun */
void session_look_at(struct session *s, enum smtp_stage stage, const struct smtp_reply *reply, struct react_verdict *out);
/* The next of the carried: now, or when the timer that it starts asks again. */
void session_send_carried(struct session *s);
void session_drop_carried(struct session *s);                                   /* they are deferred */

/* session.c */
void session_tell(struct session *s, enum trace_who who, struct span bytes);    /* to who listens; costs nothing else */
void session_arm(struct session *s, int64_t us);
void session_arm_by(struct session *s, enum setting_id timeout);                /* by what the policy sets; expiry counts as its use */
void session_enter(struct session *s);  /* an event begins: the session stays in memory until session_left() */
void session_left(struct session *s);   /* an event is over that depth was raised for: frees a session that ended in it */
void session_say_quit(struct session *s);                                       /* past the client, which has no more to say */
void session_drop_connection(struct session *s);                                /* at once, with the client that talks over it */
void session_over(struct session *s);                                           /* the slot goes back; the memory when the event is over */
extern const struct conn_events session_events;                                 /* a connection's; ctx is the session */

/* session_seek.c */
void session_seek(struct session *s);   /* SEEKING: goes on with whatever is there by now */
/* Trouble of our own as a reply; format has one %s, for what. */
void session_fail_reply(struct smtp_reply *reply, const char *enhanced, const char *format, const char *what);
/* The next one, or the end; refused: the peer is still there, and is about to go. */
void session_address_failed(struct session *s, enum smtp_stage stage, const struct smtp_reply *why, bool refused);
void session_next_host(struct session *s, bool peer_gone);                      /* with the carried */
void session_part(struct session *s, enum session_state how);                   /* PARTING or QUITTING: waits for the peer's end */
void session_parted(struct session *s);                                         /* that has come, or its time is up: seeks */

/* session_talk.c */
void session_pump(struct session *s);
void session_flush(struct session *s);                                          /* what the client wants sent goes to the socket */
