//! Partition tables: the rules one by one, GPT, and disks of any content.

mod any_disk;
mod disk;
mod gpt;
mod oracle;
mod rules;
mod says;
