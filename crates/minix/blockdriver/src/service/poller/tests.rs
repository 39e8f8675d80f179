use super::*;

const LIMIT: u64 = 500;
const SHARE: u8 = 20;
/// What a request takes beside the device: messages, the client.
const BESIDE: u64 = 100;
/// How late an interrupt is.
const LATE: u64 = 1400;

fn poller(limit: u64, share: u8) -> Poller {
    Poller::new(WatchOptions {
        limit: Duration::from_micros(limit),
        share,
    })
}

/// A read that the device was given as its request of that number.
fn read(given: u64) -> Awaited {
    Awaited {
        kind: Kind::Read,
        bytes: 4096,
        given,
        done: given - 1,
        completed: Instant::START,
        asked: 1,
    }
}

/// A client with one request at a time, and what its requests came to.
struct Client {
    poller: Poller,
    now: u64,
    /// Requests that the device was given.
    given: u64,
    /// Microseconds that a request takes until the device is given it.
    lead: u64,
    /// Microseconds that were watched, with a hit and without.
    found: u64,
    vain: u64,
    hits: u64,
    misses: u64,
}

impl Client {
    fn new(poller: Poller) -> Self {
        Self {
            poller,
            now: 5_000_000,
            given: 0,
            lead: 0,
            found: 0,
            vain: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// A request that the device completes after so long. Whether it was watched.
    fn request(&mut self, took: u64) -> bool {
        self.request_of(read(1), took)
    }

    fn request_of(&mut self, awaited: Awaited, took: u64) -> bool {
        self.given += 1;
        let awaited = Awaited {
            given: self.given,
            done: self.given - 1,
            ..awaited
        };
        self.now += self.lead;
        let completed = self.now + took;
        let watch = self.poller.begin(Instant::from_micros(self.now), awaited);
        if let Some(watch) = watch {
            let end = watch.until.min(completed);
            let at = Instant::from_micros(end);
            if completed <= watch.until {
                self.poller.hit(watch, at);
                self.found += end - self.now;
                self.hits += 1;
                self.now = end + BESIDE;
                return true;
            }
            assert!(watch.is_over(at));
            self.poller.missed(watch, at);
            self.vain += end - self.now;
            self.misses += 1;
        }
        self.now = completed + LATE + BESIDE;
        watch.is_some()
    }

    /// Requests for so many seconds. Returns the shares of the hart that watches took, with a hit and without, in percent,
    /// and that of requests that hit.
    fn seconds(&mut self, seconds: u64, mut took: impl FnMut(u64) -> u64) -> [u64; 3] {
        let start = self.now;
        (self.found, self.vain, self.hits, self.misses) = (0, 0, 0, 0);
        let mut nth = 0;
        while self.now < start + seconds * 1_000_000 {
            self.request(took(nth));
            nth += 1;
        }
        let passed = self.now - start;
        [
            self.found * 100 / passed,
            self.vain * 100 / passed,
            self.hits * 100 / nth,
        ]
    }
}

fn client() -> Client {
    Client::new(poller(LIMIT, SHARE))
}

#[test]
fn without_time_or_share_there_is_no_watch() {
    for (limit, share) in [(0, 20), (200, 0), (0, 100)] {
        assert!(!Client::new(poller(limit, share)).request(1));
    }
    assert_eq!(Poller::new(WatchOptions::NEVER).begin(Instant::END, read(1)), None);
}

#[test]
fn a_quick_disk_is_watched_and_found() {
    for took in [20, 200, 400] {
        let [_, vain, hits] = client().seconds(10, |_| took);
        assert_eq!((vain, hits), (0, 100), "{took}");
    }
}

#[test]
fn a_slow_disk_is_hardly_watched() {
    for took in [2_000, 50_000, 100_000] {
        let mut client = client();
        let [found, vain, hits] = client.seconds(10, |_| took);
        assert_eq!((found, hits), (0, 0), "{took}");
        assert!(vain <= 1, "{took}: {vain}");
        // 640 ms apart, and as many as there are before.
        assert!(client.misses < 40, "{}", client.misses);
    }
}

#[test]
fn three_vain_watches_do_not_blind_it() {
    let mut client = client();
    client.seconds(1, |_| 40);
    for _ in 0..100 {
        (0..3).for_each(|_| assert!(client.request(5_000)));
        (0..16).for_each(|_| assert!(client.request(40)));
    }
}

#[test]
fn a_disk_that_was_slow_and_is_quick_is_found_within_a_second() {
    let mut client = client();
    client.seconds(60, |_| 50_000);
    client.seconds(1, |_| 40);
    let [_, vain, hits] = client.seconds(10, |_| 40);
    assert_eq!((vain, hits), (0, 100));
}

#[test]
fn vain_watches_stay_below_the_share_in_each_second() {
    for share in [1, 5, 20] {
        let mut client = Client::new(poller(10_000, share));
        // Half of the requests are just too long, so that watching pays by its hits alone.
        for _ in 0..20 {
            let [_, vain, _] = client.seconds(1, |nth| if nth % 2 == 0 { 10 } else { 10_001 });
            assert!(vain <= u64::from(share), "{vain} of {share}");
        }
        assert!(client.misses > 0);
    }
}

#[test]
fn a_watch_goes_on_where_the_last_message_broke_it_off_and_no_longer() {
    let mut poller = poller(LIMIT, SHARE);
    let mut begin = |now, awaited| poller.begin(Instant::from_micros(now), awaited);
    let times = |watch: Option<Watch>| watch.map(|watch| (watch.since, watch.until));
    assert_eq!(times(begin(1000, read(7))), Some((1000, 1000 + LIMIT)));
    assert_eq!(times(begin(1100, read(7))), Some((1000, 1000 + LIMIT)));
    assert_eq!(begin(1000 + LIMIT, read(7)), None);
    let another = read(8);
    assert_eq!(times(begin(2000, another)), Some((2000, 2000 + LIMIT)));
    let completed = Instant::from_micros(2100);
    let another = Awaited { completed, ..another };
    assert_eq!(times(begin(2200, another)), Some((2100, 2100 + LIMIT)));
}

#[test]
fn a_watch_counts_from_when_the_device_was_given_the_oldest_request_it_has() {
    let mut poller = poller(LIMIT, SHARE);
    let mut since = |now, given, done| {
        let awaited = Awaited {
            given,
            done,
            ..read(given)
        };
        poller
            .begin(Instant::from_micros(now), awaited)
            .map(|watch| watch.since)
    };
    assert_eq!(since(1000, 1, 0), Some(1000));
    assert_eq!(since(1100, 3, 0), Some(1000));
    assert_eq!(since(1200, 4, 1), Some(1100));
    assert_eq!(since(1250, 4, 2), Some(1100));
    assert_eq!(since(1300, 4, 3), Some(1200));
    // Of very many, the last ones count as given last.
    assert_eq!(since(2000, 5, 4), Some(2000));
    (6..30).for_each(|given| assert_eq!(since(2000 + given, given, 4), Some(2000)));
    assert_eq!(since(2030, 29, 10), Some(2011));
    assert_eq!(since(2030, 29, 11), Some(2029));
}

#[test]
fn what_comes_before_the_device_has_a_request_shortens_no_watch() {
    let mut client = client();
    client.seconds(1, |_| 40);
    client.lead = 2 * LIMIT;
    assert!((0..100).all(|_| client.request(40)));
    assert_eq!(client.misses, 0);
}

#[test]
fn kinds_and_sizes_are_known_apart() {
    let mut client = client();
    let long = Awaited {
        bytes: 1 << 20,
        ..read(1)
    };
    for _ in 0..200 {
        client.request(40);
        client.request_of(long, 5_000);
    }
    assert!((0..100).all(|_| client.request(40)));
    assert!(!client.request_of(long, 40));
    let classes = [
        (Kind::Read, 512),
        (Kind::Read, 65536),
        (Kind::Read, 65537),
        (Kind::Read, u32::MAX),
        (Kind::Write, 4096),
        (Kind::Flush, 0),
    ];
    let of = |(kind, bytes), asked| {
        let awaited = Awaited {
            kind,
            bytes,
            asked,
            ..read(1)
        };
        Class::of(&awaited).0
    };
    assert_eq!(classes.map(|class| of(class, 1)), [0, 1, 2, 3, 4, 8]);
    assert_eq!(classes.map(|class| of(class, 2)), [12, 13, 14, 15, 16, 20]);
    assert_eq!(of((Kind::Erase, u32::MAX), 64), CLASSES - 1);
}

#[test]
fn a_share_of_all_watches_always_as_long_as_allowed() {
    let mut client = Client::new(poller(LIMIT, 100));
    (0..1000).for_each(|_| assert!(client.request(50_000)));
    assert_eq!(client.vain, 1000 * LIMIT);
}
