//! Batches for a tool that counts instructions.
//!
//! The methods of [`Contender`] are the brackets: a tool counts within them alone. Waiting is between them, and each batch is
//! complete before it is taken.

use std::time::Duration;

use crate::Contender;

/// How often completions are looked for.
const TICK: Duration = Duration::from_micros(200);

/// Does `batches` batches of `depth` requests.
pub fn batches(driver: &mut dyn Contender, depth: usize, batches: usize) {
    for _ in 0..batches {
        driver.submit(depth);
        driver.publish();
        while driver.completed() < depth {
            std::thread::sleep(TICK);
        }
        let mut taken = 0;
        while taken < depth {
            taken += driver.complete();
        }
    }
}
