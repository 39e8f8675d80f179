//! Watches a driver: it answers each request once, and sends no other reply.

use heapless::Vec;
use minix_abi::bdev::{BdevReply, BdevRequest};
use minix_abi::cdev::CdevOpen;
use minix_abi::{Endpoint, Message, MessageType};

/// Requests that can be watched at a time.
const CAPACITY: usize = 512;

/// A request as its reply names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    driver: Endpoint,
    client: Endpoint,
    reply: MessageType,
    id: i32,
    /// A request type without a name. The driver may leave it unanswered.
    optional: bool,
}

/// Requests that drivers have not answered.
#[derive(Debug, Default)]
pub struct Requests {
    open: Vec<Open, CAPACITY>,
}

impl Requests {
    /// A driver got a message that may be a request.
    pub fn delivered(&mut self, driver: Endpoint, message: &Message) {
        let (reply, id) = if message.kind.is_bdev_request() {
            (MessageType::BDEV_REPLY, message.payload::<BdevRequest>().id)
        } else if message.kind == MessageType::CDEV_OPEN {
            (MessageType::CDEV_REPLY, message.payload::<CdevOpen>().id)
        } else {
            return;
        };
        let optional = message.kind.name().is_none();
        if self.open.is_full() {
            // An optional request may never be answered, so one of these goes. If there is none, the reply to the oldest
            // request will be a violation.
            let old = self.open.iter().position(|open| open.optional).unwrap_or(0);
            self.open.remove(old);
        }
        // There is room now.
        let _ = self.open.push(Open {
            driver,
            client: message.source,
            reply,
            id,
            optional,
        });
    }

    /// A client got a message from a driver. False if it is an answer to nothing.
    pub fn answered(&mut self, driver: Endpoint, client: Endpoint, message: &Message) -> bool {
        if message.kind != MessageType::BDEV_REPLY && message.kind != MessageType::CDEV_REPLY {
            return true;
        }
        // Both kinds of reply have status and id in the same places.
        let BdevReply { id, .. } = message.payload();
        let is_it = |open: &Open| (open.driver, open.client, open.reply, open.id) == (driver, client, message.kind, id);
        // A certain request before an optional one.
        let found = self.open.iter().position(|open| is_it(open) && !open.optional);
        match found.or_else(|| self.open.iter().position(is_it)) {
            Some(index) => {
                self.open.remove(index);
                true
            }
            None => false,
        }
    }

    /// A process is gone, and with it its requests and those to it.
    pub fn forget(&mut self, process: Endpoint) {
        self.open
            .retain(|open| open.driver != process && open.client != process);
    }

    /// Requests that a driver has to answer.
    pub fn in_flight(&self, driver: Endpoint) -> usize {
        self.open
            .iter()
            .filter(|open| open.driver == driver && !open.optional)
            .count()
    }

    /// Whether a client waits for an answer that has to come.
    pub fn has_asked(&self, client: Endpoint) -> bool {
        self.open.iter().any(|open| open.client == client && !open.optional)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIVER: Endpoint = Endpoint(100);
    const CLIENT: Endpoint = Endpoint(101);

    fn from_client(kind: MessageType, id: i32) -> Message {
        let mut message = Message::with_payload(
            kind,
            &BdevRequest {
                id,
                ..Default::default()
            },
        );
        message.source = CLIENT;
        message
    }

    fn reply(id: i32) -> Message {
        Message::with_payload(
            MessageType::BDEV_REPLY,
            &BdevReply {
                id,
                ..Default::default()
            },
        )
    }

    #[test]
    fn each_request_is_answered_once() {
        let mut requests = Requests::default();
        assert!(!requests.answered(DRIVER, CLIENT, &reply(7)), "never asked");
        requests.delivered(DRIVER, &from_client(MessageType::BDEV_READ, 7));
        requests.delivered(DRIVER, &from_client(MessageType::BDEV_WRITE, 8));
        assert_eq!(requests.in_flight(DRIVER), 2);
        assert!(!requests.answered(DRIVER, Endpoint(102), &reply(7)), "not to this one");
        assert!(requests.answered(DRIVER, CLIENT, &reply(7)));
        assert!(!requests.answered(DRIVER, CLIENT, &reply(7)), "twice");
        assert!(requests.answered(DRIVER, CLIENT, &reply(8)));
        assert_eq!(requests.in_flight(DRIVER), 0);
    }

    #[test]
    fn an_id_can_be_open_twice_and_per_kind_of_device() {
        let mut requests = Requests::default();
        for _ in 0..2 {
            requests.delivered(DRIVER, &from_client(MessageType::BDEV_OPEN, -1));
        }
        assert!(requests.answered(DRIVER, CLIENT, &reply(-1)) && requests.answered(DRIVER, CLIENT, &reply(-1)));
        assert!(!requests.answered(DRIVER, CLIENT, &reply(-1)));
        let mut open = Message::with_payload(MessageType::CDEV_OPEN, &CdevOpen { id: 3 });
        open.source = CLIENT;
        requests.delivered(DRIVER, &open);
        assert!(!requests.answered(DRIVER, CLIENT, &reply(3)), "the wrong type of reply");
        let mut refused = reply(3);
        refused.kind = MessageType::CDEV_REPLY;
        assert!(requests.answered(DRIVER, CLIENT, &refused));
    }

    #[test]
    fn requests_without_a_name_may_stay_unanswered() {
        let mut requests = Requests::default();
        for id in 0..CAPACITY as i32 + 10 {
            requests.delivered(DRIVER, &from_client(MessageType(0x57F), id));
        }
        assert_eq!(requests.in_flight(DRIVER), 0);
        requests.delivered(DRIVER, &from_client(MessageType::BDEV_READ, 600));
        assert!(requests.answered(DRIVER, CLIENT, &reply(400)));
        assert_eq!(requests.in_flight(DRIVER), 1);
    }

    #[test]
    fn requests_of_and_to_a_dead_process_are_forgotten() {
        let mut requests = Requests::default();
        requests.delivered(DRIVER, &from_client(MessageType::BDEV_READ, 1));
        requests.delivered(Endpoint(200), &from_client(MessageType::BDEV_READ, 1));
        requests.forget(DRIVER);
        assert_eq!((requests.in_flight(DRIVER), requests.in_flight(Endpoint(200))), (0, 1));
        requests.forget(CLIENT);
        assert!(!requests.has_asked(CLIENT));
    }
}
