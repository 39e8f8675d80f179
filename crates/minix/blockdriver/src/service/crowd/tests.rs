//! A system of one hart: clients that send their next request once they are answered, a device that works on many at once, and
//! a service that does what the guesses say.

extern crate std;
use std::collections::VecDeque;
use std::vec::Vec;

use super::*;

/// Microseconds that a client takes to send a request, and the service to give it to the device and to answer it.
const CLIENT: u64 = 50;
const SUBMIT: u64 = 40;
const ANSWER: u64 = 15;
/// An interrupt is no later than that, and keeps the service busy for as long.
const LATE: [u64; 4] = [90, 300, 600, 1400];
const INTERRUPT: u64 = 30;
/// A watch is longer than the device takes, by so much.
const MARGIN: u64 = 80;

struct Hart {
    crowd: Crowd,
    /// With one that spins, no message is ever waited for while the device works.
    spins: bool,
    now: u64,
    /// The device takes so long, and so much longer for one request in a hundred.
    takes: u64,
    longer: u64,
    /// Clients that have been answered, and what each still takes to send its next request.
    ready: VecDeque<(i32, u64)>,
    /// What the device has: the client, when it was asked and when it has completed.
    in_flight: Vec<(i32, u64, u64)>,
    /// When the message of an interrupt comes.
    interrupt: Option<u64>,
    /// A client sends its next request when all have been answered.
    in_step: bool,
    held: Vec<i32>,
    /// The endpoint that requests come from, if not from the client's own.
    by_way_of: Option<i32>,
    nth: u64,
    /// How long clients waited.
    waits: Vec<u64>,
}

impl Hart {
    fn new(clients: i32, takes: u64) -> Self {
        let mut hart = Self {
            crowd: Crowd::new(),
            spins: false,
            now: 5_000_000,
            takes,
            longer: 0,
            ready: VecDeque::new(),
            in_flight: Vec::new(),
            interrupt: None,
            in_step: false,
            held: Vec::new(),
            by_way_of: None,
            nth: 0,
            waits: Vec::new(),
        };
        hart.has_clients(clients);
        hart
    }

    /// From now on there are so many clients.
    fn has_clients(&mut self, clients: i32) {
        while !self.in_flight.is_empty() {
            self.collect(u64::MAX);
        }
        self.ready = (0..clients).map(|client| (client, CLIENT)).collect();
    }

    /// Answers what the device has completed by a time. How many.
    fn collect(&mut self, by: u64) -> usize {
        let completed: Vec<_> = self.in_flight.extract_if(.., |(.., at)| *at <= by).collect();
        for (client, asked, _) in &completed {
            self.now += ANSWER;
            self.waits.push(self.now - asked);
            self.held.push(*client);
        }
        if !self.in_step || self.in_flight.is_empty() && self.ready.is_empty() {
            self.ready.extend(self.held.drain(..).map(|client| (client, CLIENT)));
        }
        completed.len()
    }

    fn first(&self) -> Option<u64> {
        self.in_flight.iter().map(|(.., at)| *at).min()
    }

    /// A round of the service, as in its main loop.
    fn round(&mut self) {
        if self.collect(self.now) > 0 {
            self.crowd.answered();
        }
        self.crowd.forget();
        for _ in 0..=4 {
            let Some(first) = self.first() else {
                break;
            };
            let span = first.saturating_sub(self.now) + MARGIN;
            if !self.spins
                && self
                    .crowd
                    .waits(Instant::from_micros(self.now), self.in_flight.len(), span)
            {
                break;
            }
            self.now = self.now.max(first);
            self.collect(self.now);
            self.crowd.answered();
        }
        // The look after interrupts are asked for.
        if self.collect(self.now) > 0 && self.crowd.answered() && !self.in_flight.is_empty() {
            return;
        }
        self.wait();
    }

    /// Waits for the next message or interrupt. The device raises one when it has completed something.
    fn wait(&mut self) {
        let message = self.ready.front().map(|(_, left)| self.now + left);
        if let Some(first) = self.first()
            && self.interrupt.is_none()
            && message.is_none_or(|message| first <= message)
        {
            self.interrupt = Some(first.max(self.now) + LATE[(self.nth % 4) as usize]);
        }
        match self.interrupt {
            Some(at) if message.is_none_or(|message| at < message) => {
                // It interrupts the client.
                if let Some((_, left)) = self.ready.front_mut() {
                    *left -= at.saturating_sub(self.now);
                }
                self.interrupt = None;
                self.now = self.now.max(at) + INTERRUPT;
                if self.collect(self.now) > 0 {
                    self.crowd.completed(Instant::from_micros(self.now));
                }
            }
            _ => self.request(message.expect("something is to come")),
        }
    }

    fn request(&mut self, at: u64) {
        let (client, _) = self.ready.pop_front().expect("it has sent a request");
        self.nth += 1;
        self.crowd
            .arrived(Endpoint(self.by_way_of.unwrap_or(client)), self.in_flight.len());
        let longer = if self.nth % 100 == 99 { self.longer } else { 0 };
        self.now = at + SUBMIT;
        self.in_flight.push((client, at, self.now + self.takes + longer));
    }

    /// The requests of a while, after some that do not count. Returns how many there were in a second, and how long all but one
    /// in a hundred clients waited at most.
    fn serves(&mut self, requests: u64) -> (u64, u64) {
        self.rounds(requests / 8);
        let start = self.now;
        self.waits.clear();
        self.rounds(requests);
        let rate = self.waits.len() as u64 * 1_000_000 / (self.now - start);
        self.waits.sort_unstable();
        (rate, self.waits[self.waits.len() * 99 / 100])
    }

    fn rounds(&mut self, requests: u64) {
        let until = self.nth + requests;
        while self.nth < until {
            self.round();
        }
    }

    /// How many requests are expected at once.
    fn usual(&self) -> usize {
        self.crowd.after_request.usual.max(self.crowd.after_answer.usual)
    }

    fn wrong(&self) -> u64 {
        self.crowd.guesses().wrong
    }
}

/// The rate of so many clients, as a share of that with a service that spins, in percent.
fn gain(clients: i32, takes: u64) -> u64 {
    let mut spinning = Hart::new(clients, takes);
    spinning.spins = true;
    Hart::new(clients, takes).serves(2000).0 * 100 / spinning.serves(2000).0
}

#[test]
fn two_clients_are_served_while_the_device_works() {
    for takes in [150, 175, 200] {
        let gain = gain(2, takes);
        assert!(gain >= 170, "{takes}: {gain}");
    }
}

#[test]
fn many_clients_are_all_served_while_the_device_works() {
    let mut hart = Hart::new(8, 2000);
    hart.serves(2000);
    assert_eq!(hart.usual(), 8);
    assert!(gain(4, 400) > 250, "{}", gain(4, 400));
}

#[test]
fn clients_that_wait_for_each_other_are_served_at_once_and_found_by_watching() {
    let (mut hart, mut spinning) = (Hart::new(2, 200), Hart::new(2, 200));
    spinning.spins = true;
    hart.in_step = true;
    spinning.in_step = true;
    let (rate, _) = hart.serves(4000);
    assert!(rate * 10 > spinning.serves(4000).0 * 14, "{rate}");
    assert_eq!((hart.crowd.after_request.usual, hart.crowd.after_answer.usual), (2, 1));
    let before = hart.wrong();
    hart.rounds(4096);
    assert!(hart.wrong() - before <= 8, "{}", hart.wrong() - before);
}

#[test]
fn a_client_that_is_alone_is_hardly_left_to_interrupts() {
    for takes in [25, 75, 175, 400] {
        let (mut hart, mut spinning) = (Hart::new(1, takes), Hart::new(1, takes));
        spinning.spins = true;
        for _ in 0..20 {
            assert_eq!(hart.serves(500).1, spinning.serves(500).1, "{takes}");
        }
        assert!(hart.wrong() <= 15, "{}", hart.wrong());
    }
}

#[test]
fn a_device_that_is_quicker_than_a_client_is_watched() {
    let mut crowd = Crowd::new();
    (0..8).for_each(|nth| crowd.arrived(Endpoint(nth), nth as usize));
    assert!(!crowd.waits(Instant::START, 1, SWITCH - 1));
    assert!(crowd.waits(Instant::START, 1, SWITCH));
}

#[test]
fn what_no_client_waits_for_is_not_watched() {
    let mut crowd = Crowd::new();
    assert!(crowd.waits(Instant::START, 0, 0));
    crowd.completed(Instant::END);
    assert_eq!(crowd.guesses(), Guesses::default());
}

#[test]
fn two_clients_of_one_server_are_found_as_well() {
    let mut hart = Hart::new(1, 175);
    hart.by_way_of = Some(1);
    hart.serves(5000);
    hart.has_clients(2);
    hart.rounds(u64::from(LONGEST_PAUSE) + 100);
    let mut spinning = Hart::new(2, 175);
    spinning.spins = true;
    assert!(hart.serves(1000).0 * 10 > spinning.serves(1000).0 * 17);
}

#[test]
fn a_second_client_is_found_soon_where_it_has_an_endpoint_of_its_own() {
    let mut hart = Hart::new(1, 175);
    hart.serves(5000);
    hart.has_clients(2);
    hart.rounds(u64::from(LONGEST_PAUSE / TURN) + 2);
    assert_eq!(hart.usual(), 2);
}

#[test]
fn one_wrong_guess_tells_that_the_others_are_gone() {
    for clients in [2, 8] {
        let mut hart = Hart::new(clients, 400);
        hart.serves(2000);
        let before = hart.wrong();
        hart.has_clients(1);
        hart.rounds(3);
        assert_eq!((hart.wrong() - before, hart.crowd.after_request.usual), (1, 1));
    }
}

#[test]
fn clients_that_take_turns_and_never_meet_are_hardly_left_to_interrupts() {
    let mut hart = Hart::new(1, 175);
    hart.serves(2000);
    let before = hart.wrong();
    for nth in 0..2000 {
        hart.by_way_of = Some(nth % 2);
        hart.rounds(1);
    }
    assert!(hart.wrong() - before <= 16, "{}", hart.wrong() - before);
}

#[test]
fn one_late_client_among_many_in_time_costs_few_requests() {
    let mut hart = Hart::new(4, 400);
    hart.serves(2000);
    assert_eq!(hart.usual(), 4);
    let crowd = &mut hart.crowd;
    assert!(crowd.waits(Instant::START, 3, 500));
    crowd.completed(Instant::END);
    assert_eq!(crowd.after_request.usual, 3);
    hart.rounds(16);
    assert_eq!(hart.usual(), 4);
}

#[test]
fn interrupts_in_time_are_no_wrong_guesses_unless_no_message_ever_comes() {
    let mut crowd = Crowd::new();
    crowd.arrived(Endpoint(1), 1);
    let interrupt = |crowd: &mut Crowd| {
        crowd.arrived(Endpoint(1), 0);
        assert!(crowd.waits(Instant::START, 1, 100));
        crowd.completed(Instant::from_micros(100));
        crowd.guesses().wrong
    };
    for _ in 0..10 {
        (0..IN_TIME - 1).for_each(|_| assert_eq!(interrupt(&mut crowd), 0));
        crowd.arrived(Endpoint(1), 0);
        assert!(crowd.waits(Instant::START, 1, 100));
        crowd.arrived(Endpoint(1), 1);
    }
    (0..IN_TIME - 1).for_each(|_| assert_eq!(interrupt(&mut crowd), 0));
    assert_eq!(interrupt(&mut crowd), 1);
}

#[test]
fn one_more_client_that_is_not_there_is_a_wrong_guess_however_early_the_interrupt() {
    let mut crowd = Crowd::new();
    for _ in 0..FIRST_PAUSE {
        assert!(!crowd.waits(Instant::START, 1, 100));
        crowd.arrived(Endpoint::NONE, 0);
    }
    assert!(crowd.waits(Instant::START, 1, 100));
    crowd.completed(Instant::START);
    assert_eq!(crowd.guesses(), Guesses { right: 0, wrong: 1 });
    crowd.arrived(Endpoint::NONE, 0);
    assert!(!crowd.waits(Instant::START, 1, 100));
}

#[test]
fn a_completion_before_the_wait_takes_a_guess_back() {
    let mut crowd = Crowd::new();
    let waits = |crowd: &mut Crowd| {
        crowd.arrived(Endpoint::MFS, 0);
        crowd.waits(Instant::START, 1, 2 * SWITCH)
    };
    assert!(
        (0..FIRST_PAUSE).any(|_| waits(&mut crowd)),
        "it looks for another client"
    );
    // One of several device requests is completed before the service waits: the others are not to be left to an interrupt.
    assert!(crowd.answered());
    assert!(!crowd.answered());
    // The look for another client is still due.
    assert!(waits(&mut crowd));
    crowd.forget();
    assert!(!crowd.answered());
}
