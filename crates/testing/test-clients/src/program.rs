//! The conversation with RS around a test. RS hears the test's result.
//!
//! Clients are services, as MINIX's own driver tests are. The test runs between the start of the conversation and its
//! end, and a failed one is a failed initialisation.

use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, Message};
use minix_rt::{Args, Fixed, Ipc, Minix, kernel, sef};

use crate::client::{Client, Tables};

static TABLES: Fixed<Tables> = Fixed::new(Tables::new());

/// Runs a test and tells RS how it went: `Ok` if everything was as it should be. Then waits for the request to stop.
pub fn run(args: Args, test: impl FnOnce(&mut Client<Minix>, Args) -> Result<(), Errno>) -> ! {
    let mut ipc = Minix::new();
    let startup = sef::start(&mut ipc);
    let result = match TABLES.take() {
        Some(tables) => Client::new(ipc, tables).and_then(|mut client| test(&mut client, args)),
        None => Err(Errno::EBUSY),
    };
    // RS is gone if it does not hear this.
    let _ = startup.finish(&mut ipc, result);
    wait_for_the_end(&mut ipc)
}

fn wait_for_the_end(ipc: &mut Minix) -> ! {
    loop {
        let mut message = Message::default();
        let Ok(status) = ipc.receive(Endpoint::ANY, &mut message) else {
            kernel::exit(ipc)
        };
        if let sef::Event::Signal(Signal::TERM) = sef::handle(ipc, status, &message) {
            kernel::exit(ipc)
        }
    }
}
