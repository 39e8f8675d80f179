//! Whether clients are about to send requests, so that the service waits for their messages before it watches the device.
//!
//! On one hart a service that watches keeps clients from sending, and two of them are served one after the other. A service
//! that waits lets the next one send while the device works. If none sends, the completion is found by its interrupt, which is
//! late. So the service waits while there are fewer requests at once than lately, and now and then while there are as many, to
//! learn of one more client. A wrong guess makes the next ones rarer.
//!
//! The system has no call that takes a message only if one is there, so a service that does not know of other clients cannot
//! look for them.

use minix_abi::{Endpoint, Instant};

use crate::statistics::Guesses;

/// Requests until it is tried whether there is one more client: at first, and after wrong guesses at most. All pauses are odd, and
/// so many turns are: where every second request is followed by another one, not all tries fall on the others.
const FIRST_PAUSE: u32 = 31;
const LONGEST_PAUSE: u32 = 1009;
/// The same after such a guess was right: there may be more of them.
const GROWS_AFTER: u32 = 4;
/// The same after guesses were right for long, and one was not.
const TRIES_AGAIN_AFTER: u32 = 2;
/// So many right guesses in a row are long.
const LONG: u32 = 16;
/// A request that comes from another client than the one before counts as many, while no two are known of.
const TURN: u32 = 7;
/// Microseconds that another client takes to send a request, with the switch to it and back. Where a watch is shorter than that,
/// there is little to gain, and the device is watched.
const SWITCH: u64 = 100;
/// So many interrupts in a row that come before a watch would have been over are as bad as a late one.
const IN_TIME: u32 = 4;

/// What is expected at some point of the service's work, and what became of that.
#[derive(Clone, Debug)]
struct Expectation {
    /// How many requests there were at once, lately.
    usual: usize,
    /// Requests until it is tried to have one more at once.
    pause: u32,
    /// The pause after the next wrong guess.
    next_pause: u32,
    /// Guesses in a row that were right, without those about one more client.
    right: u32,
    /// Interrupts in a row that came before a watch would have been over.
    in_time: u32,
    /// How many requests there were at once before a guess was wrong for once.
    before: usize,
}

impl Expectation {
    const fn new() -> Self {
        Self {
            usual: 1,
            pause: FIRST_PAUSE,
            next_pause: FIRST_PAUSE,
            right: 0,
            in_time: 0,
            before: 0,
        }
    }

    /// Another request joins so many.
    const fn holds(&self, asked: usize) -> bool {
        asked < self.usual || self.pause == 0
    }

    /// Another request has joined so many, as was guessed or not.
    const fn met(&mut self, asked: usize, was_guessed: bool) {
        if was_guessed {
            self.in_time = 0;
            if asked < self.usual {
                self.right = self.right.saturating_add(1);
                if self.right == LONG {
                    self.next_pause = FIRST_PAUSE;
                }
            }
        }
        if asked >= self.usual {
            self.usual = asked + 1;
            self.pause = if self.usual < self.before {
                TRIES_AGAIN_AFTER
            } else if self.usual == self.before {
                self.next_pause
            } else {
                GROWS_AFTER
            };
        }
    }

    /// It was guessed that another one joins so many, and the device has completed one of them before. Whether that was wrong.
    const fn failed(&mut self, asked: usize, in_time: bool) -> bool {
        let was_usual = asked < self.usual;
        if was_usual {
            self.in_time += 1;
            if in_time && self.in_time < IN_TIME {
                return false;
            }
            self.in_time = 0;
        }
        if !was_usual || self.right < LONG {
            self.before = 0;
            self.pause = self.next_pause;
            let next = 4 * self.next_pause + 3;
            self.next_pause = if next < LONGEST_PAUSE { next } else { LONGEST_PAUSE };
        } else {
            self.before = self.usual;
            self.pause = TRIES_AGAIN_AFTER;
        }
        if was_usual {
            self.usual = asked;
            self.right = 0;
        }
        true
    }
}

/// A guess that a message comes before a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guess {
    /// It is one about who sends the next request after an answer.
    refills: bool,
    /// Requests that clients waited for.
    asked: usize,
    /// When a watch would have been over, in microseconds.
    until: u64,
}

/// Decides from messages and interrupts whether to wait for a message.
///
/// A request may be followed by that of another client, and an answer by the next request of the client that it went to. One can
/// be so without the other: a client that sends some requests and waits for all of them.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    after_request: Expectation,
    after_answer: Expectation,
    /// Something was answered since the last request.
    has_answered: bool,
    /// The guess of the wait that is under way.
    guess: Option<Guess>,
    /// The client of the last request.
    last: Endpoint,
    counts: Guesses,
}

impl Crowd {
    /// One client is known of.
    pub(super) const fn new() -> Self {
        Self {
            after_request: Expectation::new(),
            after_answer: Expectation::new(),
            has_answered: false,
            guess: None,
            last: Endpoint::NONE,
            counts: Guesses { right: 0, wrong: 0 },
        }
    }

    /// What came of the guesses.
    pub(super) const fn guesses(&self) -> Guesses {
        self.counts
    }

    const fn expectation(&mut self, after_answer: bool) -> &mut Expectation {
        if after_answer {
            &mut self.after_answer
        } else {
            &mut self.after_request
        }
    }

    /// Whether to wait for a message, while clients wait for `asked` requests and a watch would last for `span` microseconds.
    #[inline]
    pub(super) const fn waits(&mut self, now: Instant, asked: usize, span: u64) -> bool {
        if asked == 0 {
            // The device has something that no client waits for.
            return true;
        }
        let refills = self.has_answered;
        let waits = span >= SWITCH && self.expectation(refills).holds(asked);
        if waits {
            let until = now.as_micros().saturating_add(span);
            self.guess = Some(Guess { refills, asked, until });
        }
        waits
    }

    /// The service does not wait, or for something else.
    #[inline]
    pub(super) const fn forget(&mut self) {
        self.guess = None;
    }

    /// Something was answered that was not waited for. Whether that was about to be waited for: the guess is taken back, and
    /// another one is due.
    #[inline]
    pub(super) const fn answered(&mut self) -> bool {
        self.has_answered = true;
        self.guess.take().is_some()
    }

    /// A client has sent a request, while clients waited for `asked` others.
    #[inline]
    pub(super) fn arrived(&mut self, from: Endpoint, asked: usize) {
        let is_turn = self.after_request.usual == 1 && from != self.last;
        let passed = if is_turn { TURN } else { 1 };
        self.after_request.pause = self.after_request.pause.saturating_sub(passed);
        self.after_answer.pause = self.after_answer.pause.saturating_sub(passed);
        self.last = from;
        if asked > 0 {
            self.joined(asked);
        }
        self.has_answered = false;
    }

    /// A request has joined others.
    #[inline(never)]
    const fn joined(&mut self, asked: usize) {
        let guess = self.guess.take();
        let refills = match guess {
            Some(guess) => guess.refills,
            None => self.has_answered,
        };
        self.counts.right += guess.is_some() as u64;
        self.expectation(refills).met(asked, guess.is_some());
    }

    /// The device has completed something before a request came.
    pub(super) const fn completed(&mut self, now: Instant) {
        self.has_answered = true;
        if let Some(guess) = self.guess.take() {
            let in_time = now.as_micros() <= guess.until;
            let is_wrong = self.expectation(guess.refills).failed(guess.asked, in_time);
            self.counts.wrong += is_wrong as u64;
        }
    }
}

#[cfg(test)]
mod tests;
