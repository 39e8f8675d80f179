//! Batches for a tool that counts instructions.
//!
//! The methods of [`Contender`] are the brackets: a tool counts within them alone. Waiting is between them, and each batch is
//! complete before it is taken.

use std::time::{Duration, Instant};

use crate::Contender;
use crate::ours::stop;

/// How often completions are looked for.
const TICK: Duration = Duration::from_micros(200);

/// How long a device may take to answer a batch.
const LIMIT: Duration = Duration::from_secs(60);

/// Does `batches` batches of `depth` requests.
pub fn batches(driver: &mut dyn Contender, depth: usize, batches: usize) {
    for _ in 0..batches {
        driver.submit(depth);
        driver.publish();
        let started = Instant::now();
        while driver.completed() < depth {
            if started.elapsed() > LIMIT {
                stop("the device does not answer");
            }
            std::thread::sleep(TICK);
        }
        let mut taken = 0;
        while taken < depth {
            taken += driver.complete();
        }
    }
}
