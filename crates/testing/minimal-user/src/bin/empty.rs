//! A program without a driver. What is in it counts for nothing where sizes are compared.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

use minimal_user::Failure;

minimal_user::program!(run);

fn run() -> Result<(), Failure> {
    Ok(())
}
