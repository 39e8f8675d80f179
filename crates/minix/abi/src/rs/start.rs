//! What `minix-service up` sends to RS.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Pad, Payload};

/// The request to start a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Up {
    /// Length in bytes.
    pub length: i32,
    /// Unused here.
    pub pad: Pad<12>,
    /// Address of an [`RsStart`].
    pub address: u64,
}

layout!(Up, 24 {
    length: i32 = 0,
    address: u64 = 16,
});

impl Payload for Up {}

/// Everything about a service to be started: 920 bytes, of which only the parts that a driver's author meets have
/// names here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct RsStart {
    /// Options of the tool.
    pub flags: u32,
    /// Padding.
    pub pad0: Pad<4>,
    /// Address of the command line.
    pub command: u64,
    /// Bytes of the command line.
    pub command_bytes: u64,
    /// The user it runs as.
    pub uid: i32,
    /// Not named here.
    pub pad1: Pad<16>,
    /// The major number of its device.
    pub major: i32,
    /// How often it is pinged, in ticks; 0: never.
    pub period: i64,
    /// Address of the name of its recovery script.
    pub script: u64,
    /// Not named here.
    pub pad2: Pad<40>,
    /// How many interrupt lines it may use.
    pub irq_count: i32,
    /// The interrupt lines.
    pub irqs: [i32; 16],
    /// How many port ranges it may use.
    pub io_count: i32,
    /// Port ranges, and more that is not named here.
    pub pad3: Pad<424>,
    /// The kernel calls it may use: bit n is call 0x600 + n.
    pub kernel_calls: [u32; 2],
    /// The label, and more that is not named here.
    pub pad4: Pad<32>,
    /// Address of the list of labels it may talk to.
    pub ipc: u64,
    /// Not named here.
    pub pad5: Pad<8>,
    /// The VM calls it may use, and more that is not named here.
    pub pad6: Pad<208>,
    /// Address of the name of the program.
    pub program: u64,
    /// Not named here.
    pub pad7: Pad<48>,
}

layout!(RsStart, 920 {
    flags: u32 = 0,
    command: u64 = 8,
    command_bytes: u64 = 16,
    uid: i32 = 24,
    major: i32 = 44,
    period: i64 = 48,
    script: u64 = 56,
    irq_count: i32 = 104,
    irqs: [i32; 16] = 108,
    io_count: i32 = 172,
    kernel_calls: [u32; 2] = 600,
    ipc: u64 = 640,
    program: u64 = 864,
});

impl RsStart {
    /// Where the table of port ranges starts.
    pub const IO_TABLE_OFFSET: usize = 176;
    /// Where the label starts.
    pub const LABEL_OFFSET: usize = 608;
    /// Where the mask of VM calls starts.
    pub const VM_CALLS_OFFSET: usize = 656;
}
