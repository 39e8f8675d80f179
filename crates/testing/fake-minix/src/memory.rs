//! Physical memory, and the address spaces and grants of clients in it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use minix_abi::kernel_call::GrantedRange;
use minix_abi::{Errno, GrantId};

pub const PAGE: u64 = 4096;

/// Physical memory. Pages come into being when they are allocated; an access to any other is a failure of the test.
#[derive(Default)]
pub struct Physical {
    pages: HashMap<u64, Box<[u8; PAGE as usize]>>,
    next: u64,
}

pub type SharedMemory = Rc<RefCell<Physical>>;

impl Physical {
    /// A page; adjacent to the one before only if asked for.
    pub fn allocate(&mut self, adjacent: bool) -> u64 {
        self.next += if adjacent { PAGE } else { 3 * PAGE };
        let address = 0x1_0000_0000 + self.next;
        self.pages.insert(address, Box::new([0; PAGE as usize]));
        address
    }

    pub fn read(&self, address: u64, into: &mut [u8]) {
        for (page, offset, part) in parts(address, into.len()) {
            let page = self.pages.get(&page).expect("a look at memory that is not there");
            into[part.clone()].copy_from_slice(&page[offset..][..part.len()]);
        }
    }

    pub fn write(&mut self, address: u64, from: &[u8]) {
        for (page, offset, part) in parts(address, from.len()) {
            let page = self.pages.get_mut(&page).expect("a write to memory that is not there");
            page[offset..][..part.len()].copy_from_slice(&from[part]);
        }
    }
}

/// Cuts memory at the ends of pages: the page and the offset of each part, and its place in the whole.
pub(crate) fn parts(address: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let (at, start) = (address + done as u64, done);
        let offset = at % PAGE;
        done = bytes.min(start + (PAGE - offset) as usize);
        (start < done).then_some((at - offset, offset as usize, start..done))
    })
}

/// A range of physical memory as the kernel answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    address: u64,
    bytes: u64,
}

impl Range {
    pub(crate) fn new(address: u64, bytes: u64) -> Self {
        Self { address, bytes }
    }
}

impl GrantedRange for Range {
    const EMPTY: Self = Self { address: 0, bytes: 0 };

    fn address(&self) -> u64 {
        self.address
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn split_at(self, bytes: u64) -> (Self, Self) {
        let first = bytes.min(self.bytes);
        (
            Self::new(self.address, first),
            Self::new(self.address + first, self.bytes - first),
        )
    }
}

/// How the pages of a buffer lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Contiguous,
    Scattered,
    /// Not there until they are touched.
    Untouched,
}

/// Memory of a client.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub address: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub address: u64,
    pub bytes: u64,
    pub read: bool,
    pub write: bool,
    pub revoked: bool,
}

/// A client's address space and grant table.
#[derive(Default)]
pub struct Space {
    pages: HashMap<u64, Option<u64>>,
    next: u64,
    pub grants: HashMap<i32, Grant>,
    next_grant: i32,
}

impl Space {
    /// `skew` is where in its page the buffer starts.
    pub fn allocate(&mut self, memory: &SharedMemory, bytes: u64, placement: Placement, skew: u64) -> Buffer {
        // A hole in front of each buffer.
        self.next += 2 * PAGE;
        let first = self.next;
        let pages = (skew + bytes).div_ceil(PAGE).max(1);
        memory.borrow_mut().allocate(false);
        for nth in 0..pages {
            let page = match placement {
                Placement::Contiguous => Some(memory.borrow_mut().allocate(true)),
                Placement::Scattered => Some(memory.borrow_mut().allocate(false)),
                Placement::Untouched => None,
            };
            self.pages.insert(first + nth * PAGE, page);
        }
        self.next += pages * PAGE;
        Buffer {
            address: first + skew,
            bytes,
        }
    }

    pub fn grant(&mut self, address: u64, bytes: u64, read: bool, write: bool) -> GrantId {
        self.next_grant += 1;
        let grant = Grant {
            address,
            bytes,
            read,
            write,
            revoked: false,
        };
        self.grants.insert(self.next_grant, grant);
        GrantId(self.next_grant)
    }

    /// The address of a page; `touch` brings it in.
    pub fn page(&mut self, memory: &SharedMemory, page: u64, touch: bool) -> Result<u64, Errno> {
        let page = self.pages.get_mut(&page).ok_or(Errno::EFAULT)?;
        if page.is_none() && touch {
            *page = Some(memory.borrow_mut().allocate(false));
        }
        page.ok_or(Errno::EFAULT)
    }

    pub fn copy_out(&mut self, memory: &SharedMemory, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        for (page, offset, part) in parts(address, into.len()) {
            let physical = self.page(memory, page, true)? + offset as u64;
            memory.borrow().read(physical, &mut into[part]);
        }
        Ok(())
    }

    pub fn copy_in(&mut self, memory: &SharedMemory, address: u64, from: &[u8]) -> Result<(), Errno> {
        for (page, offset, part) in parts(address, from.len()) {
            let physical = self.page(memory, page, true)? + offset as u64;
            memory.borrow_mut().write(physical, &from[part]);
        }
        Ok(())
    }
}
