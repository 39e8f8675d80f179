//! Carrying out requests.

use std::io;
use std::ops::Deref;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_queue::DescriptorChain;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::{Behaviour, Image, Report, Request, SECTOR_BYTES, UsedLength};

/// A device without its queue: an image, its behaviour, and the report.
#[derive(Debug)]
pub struct Disk {
    image: Image,
    behaviour: Behaviour,
    report: Report,
}

impl Disk {
    /// A device that serves this image.
    pub fn new(image: Image, behaviour: Behaviour) -> Disk {
        Disk {
            image,
            behaviour,
            report: Report::default(),
        }
    }

    /// How it behaves.
    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// The counts so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The configuration structure.
    pub fn config(&self) -> Vec<u8> {
        self.behaviour.config(self.image.sectors())
    }

    pub(crate) fn violation(&mut self, text: impl std::fmt::Display) {
        self.report.violation(text);
    }

    /// Carries out the request in a chain, and returns the length for the used ring.
    pub fn serve<M>(&mut self, chain: DescriptorChain<M>) -> u32
    where
        M: Deref + Clone,
        M::Target: GuestMemory + Sized,
    {
        let memory = chain.clone();
        let memory = memory.memory();
        let chain: Vec<Descriptor> = chain.collect();
        // Those between the header and the last one.
        let data = chain.len().saturating_sub(2) as u64;
        self.report.most_data_descriptors = self.report.most_data_descriptors.max(data);
        let request = if self.behaviour.one_segment {
            if data > 1 {
                self.report.violation(format_args!(
                    "a chain has {data} data descriptors, the device takes one"
                ));
            }
            Request::read_one_segment(memory, &chain)
        } else {
            Request::read(memory, &chain)
        };
        let request = match request {
            Ok(request) => request,
            Err(broken) => {
                self.report.violation(broken);
                return 0;
            }
        };
        let (status, written) = match self.carry_out(memory, &request) {
            Ok(Some(written)) => (VIRTIO_BLK_S_OK, written),
            Ok(None) => (VIRTIO_BLK_S_UNSUPP, 0),
            Err(_) => (VIRTIO_BLK_S_IOERR, 0),
        };
        self.count(&request, status == VIRTIO_BLK_S_OK);
        if memory.write_obj(status as u8, request.status).is_err() {
            self.report.violation("the status byte is outside memory");
        }
        let length = self.behaviour.used_length.of(written, request.writable);
        let right = UsedLength::Exact.of(written, request.writable);
        self.report.odd_lengths += u64::from(length != right);
        length
    }

    /// Moves the data. Returns the bytes written to memory, or `None` for a request that the device does not know.
    fn carry_out(&self, memory: &impl GuestMemory, request: &Request) -> io::Result<Option<u32>> {
        let inside = self.image.contains(request.sector, request.data_bytes());
        let at = request.sector.wrapping_mul(SECTOR_BYTES);
        match request.kind {
            VIRTIO_BLK_T_IN if inside => {
                let mut bytes = vec![0; request.data_bytes() as usize];
                self.image.read(at, &mut bytes)?;
                scatter(memory, &request.data, &bytes).map(Some)
            }
            VIRTIO_BLK_T_OUT if inside && !self.behaviour.read_only => {
                let mut bytes = vec![0; request.data_bytes() as usize];
                let mut rest = &mut bytes[..];
                for &(address, count) in &request.data {
                    let (now, later) = rest.split_at_mut(count as usize);
                    memory.read_slice(now, address).map_err(io::Error::other)?;
                    rest = later;
                }
                self.image.write(at, &bytes).map(|()| Some(0))
            }
            VIRTIO_BLK_T_IN | VIRTIO_BLK_T_OUT => Err(io::ErrorKind::InvalidInput.into()),
            VIRTIO_BLK_T_FLUSH => self.image.flush().map(|()| Some(0)),
            VIRTIO_BLK_T_GET_ID => {
                let mut id = self.behaviour.id.clone().into_bytes();
                id.resize(VIRTIO_BLK_ID_BYTES as usize, 0);
                scatter(memory, &request.data, &id).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn count(&mut self, request: &Request, succeeded: bool) {
        let report = &mut self.report;
        match request.kind {
            _ if !succeeded => report.failed += 1,
            VIRTIO_BLK_T_IN => report.reads += 1,
            VIRTIO_BLK_T_OUT => {
                report.writes += 1;
                report.writes_not_flushed += 1;
                report.flushes_after_writes = 0;
            }
            VIRTIO_BLK_T_FLUSH => {
                report.flushes += 1;
                report.writes_not_flushed = 0;
                report.flushes_after_writes += 1;
            }
            _ => {}
        }
    }
}

/// Writes bytes to the pieces of a request, as far as either goes. Returns how many.
fn scatter(memory: &impl GuestMemory, pieces: &[(GuestAddress, u32)], bytes: &[u8]) -> io::Result<u32> {
    let mut rest = bytes;
    for &(address, count) in pieces {
        let (now, later) = rest.split_at(rest.len().min(count as usize));
        memory.write_slice(now, address).map_err(io::Error::other)?;
        rest = later;
    }
    Ok((bytes.len() - rest.len()) as u32)
}
