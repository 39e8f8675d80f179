//! Partition tables: the rules one by one, GPT, and disks that nobody made.

mod any_disk;
mod disk;
mod gpt;
mod oracle;
mod rules;
#[cfg(all(feature = "log", not(feature = "defmt")))]
mod says;
