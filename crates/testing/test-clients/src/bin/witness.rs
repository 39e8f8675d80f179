//! The program `witness`.

#![cfg_attr(target_arch = "riscv64", no_std, no_main)]

test_clients::client!(test_clients::witness::main);
