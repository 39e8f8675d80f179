//! Carrying out requests.

use std::io;
use std::ops::Deref;

use virtio_bindings::virtio_blk::{VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP};
use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestMemory};

use crate::request::{data_descriptors, descriptors};
use crate::{Image, Kind, Manners, Report, Request, SECTOR_BYTES, UsedLength};

/// A device without its queue: an image, the manners, and what has been seen.
#[derive(Debug)]
pub struct Disk {
    image: Image,
    manners: Manners,
    report: Report,
}

impl Disk {
    /// A device that serves this image.
    #[must_use]
    pub fn new(image: Image, manners: Manners) -> Disk {
        Disk {
            image,
            manners,
            report: Report::default(),
        }
    }

    /// How it behaves.
    #[must_use]
    pub fn manners(&self) -> &Manners {
        &self.manners
    }

    /// What it has seen so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The configuration structure.
    #[must_use]
    pub fn config(&self) -> Vec<u8> {
        self.manners.config(self.image.sectors())
    }

    pub(crate) fn driver_accepted(&mut self, features: u64) {
        self.report.driver_features = features;
    }

    pub(crate) fn violation(&mut self, text: impl std::fmt::Display) {
        self.report.violation(text);
    }

    /// Carries out the request in a chain, and gives the length for the used ring.
    pub fn serve<M>(&mut self, chain: DescriptorChain<M>) -> u32
    where
        M: Deref + Clone,
        M::Target: GuestMemory + Sized,
    {
        let memory = chain.clone();
        let memory = memory.memory();
        let chain = descriptors(chain);
        let data = data_descriptors(&chain);
        self.report.most_data_descriptors = self.report.most_data_descriptors.max(data);
        let request = if self.manners.one_segment {
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
        let length = self.manners.used_length.of(written, request.writable);
        let right = UsedLength::Exact.of(written, request.writable);
        self.report.odd_lengths += u64::from(length != right);
        length
    }

    /// Moves the data. Gives the bytes written to memory, or nothing for a request that the device does not know.
    fn carry_out(&self, memory: &impl GuestMemory, request: &Request) -> io::Result<Option<u32>> {
        let inside = self.image.contains(request.sector, request.data_bytes());
        match request.kind {
            Kind::Read if inside => self.read(memory, request).map(Some),
            Kind::Write if inside && !self.manners.read_only => self.write(memory, request).map(|()| Some(0)),
            Kind::Read | Kind::Write => Err(io::ErrorKind::InvalidInput.into()),
            Kind::Flush => self.image.flush().map(|()| Some(0)),
            Kind::Id => self.identify(memory, request).map(Some),
            Kind::Other(_) => Ok(None),
        }
    }

    fn read(&self, memory: &impl GuestMemory, request: &Request) -> io::Result<u32> {
        let mut at = request.sector * SECTOR_BYTES;
        let mut written = 0;
        for piece in &request.data {
            let mut bytes = vec![0; piece.bytes as usize];
            self.image.read(at, &mut bytes)?;
            memory.write_slice(&bytes, piece.address).map_err(io::Error::other)?;
            at += u64::from(piece.bytes);
            written += piece.bytes;
        }
        Ok(written)
    }

    fn write(&self, memory: &impl GuestMemory, request: &Request) -> io::Result<()> {
        let mut at = request.sector * SECTOR_BYTES;
        for piece in &request.data {
            let mut bytes = vec![0; piece.bytes as usize];
            memory.read_slice(&mut bytes, piece.address).map_err(io::Error::other)?;
            self.image.write(at, &bytes)?;
            at += u64::from(piece.bytes);
        }
        Ok(())
    }

    fn identify(&self, memory: &impl GuestMemory, request: &Request) -> io::Result<u32> {
        let mut id = self.manners.id.clone().into_bytes();
        id.resize(VIRTIO_BLK_ID_BYTES as usize, 0);
        let mut rest = &id[..];
        for piece in &request.data {
            let (now, later) = rest.split_at(rest.len().min(piece.bytes as usize));
            memory.write_slice(now, piece.address).map_err(io::Error::other)?;
            rest = later;
        }
        Ok((id.len() - rest.len()) as u32)
    }

    fn count(&mut self, request: &Request, succeeded: bool) {
        let report = &mut self.report;
        let sectors = request.data_bytes() / SECTOR_BYTES;
        match request.kind {
            _ if !succeeded => report.failed += 1,
            Kind::Read => {
                report.reads += 1;
                report.sectors_read += sectors;
            }
            Kind::Write => {
                report.writes += 1;
                report.sectors_written += sectors;
                report.writes_not_flushed += 1;
                report.flushes_after_writes = 0;
            }
            Kind::Flush => {
                report.flushes += 1;
                report.writes_not_flushed = 0;
                report.flushes_after_writes += 1;
            }
            Kind::Id => report.ids += 1,
            Kind::Other(_) => {}
        }
    }
}
