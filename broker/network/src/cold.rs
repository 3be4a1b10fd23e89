//! Keeps `sendfile` from waiting for the disk: the thread would wait, and with it every connection that lives on it.
//!
//! Before a range of a file is sent, a byte of it is read here and there without waiting. What is not in the page cache is
//! brought there by a thread of the runtime's small blocking pool, while the connection sleeps.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

/// Distance of the bytes that are tried: half of what the kernel reads ahead by default.
const TRIED: u64 = 64 << 10;

/// What is known of the file range at the front of an outbox.
#[derive(Debug, Default)]
pub(crate) struct ColdReads {
    /// Up to here the file is in memory.
    warm_until: u64,
    /// Someone is bringing more there, up to the position that comes with it.
    warming: Option<(JoinHandle<()>, u64)>,
}

impl ColdReads {
    /// Another range is at the front.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// How many of the `wanted` bytes from `offset` on can be sent without waiting for the disk: at least one. `wanted` is
    /// not 0.
    pub(crate) fn poll_warm(
        &mut self,
        context: &mut Context<'_>,
        file: &Arc<File>,
        offset: u64,
        wanted: u64,
    ) -> Poll<u64> {
        loop {
            if let Some((warming, until)) = &mut self.warming {
                // If it failed, sending fails too, and says why.
                let _ = ready!(Pin::new(warming).poll(context));
                self.warm_until = *until;
                self.warming = None;
            }
            if self.warm_until <= offset {
                self.warm_until = offset + resident(file, offset, wanted);
            }
            if self.warm_until > offset {
                return Poll::Ready(wanted.min(self.warm_until - offset));
            }
            let file = Arc::clone(file);
            let warming = tokio::task::spawn_blocking(move || bring(&file, offset, wanted));
            self.warming = Some((warming, offset + wanted));
        }
    }
}

/// How many of the `wanted` bytes from `offset` on are in memory, as far as samples tell.
fn resident(file: &File, offset: u64, wanted: u64) -> u64 {
    let mut found = 0;
    loop {
        if is_cold(file, offset + found) {
            return found;
        }
        if found + TRIED >= wanted {
            break;
        }
        found += TRIED;
    }
    if is_cold(file, offset + wanted - 1) {
        found
    } else {
        wanted
    }
}

fn is_cold(file: &File, position: u64) -> bool {
    let byte = &mut [0];
    let slices = &mut [IoSliceMut::new(byte)];
    // Anything but "later" is for the sending to find out; so is a file system that cannot tell.
    rustix::io::preadv2(file, slices, position, ReadWriteFlags::NOWAIT) == Err(Errno::AGAIN)
}

/// Reads a range, so that it is in the page cache afterwards.
fn bring(file: &File, offset: u64, wanted: u64) {
    let mut buffer = vec![0; TRIED as usize];
    let (mut position, end) = (offset, offset + wanted);
    while position < end {
        let room = (end - position).min(TRIED) as usize;
        match file.read_at(buffer.get_mut(..room).unwrap_or_default(), position) {
            Ok(0) => return,
            Ok(count) => position += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "a cold read failed: sending will say so");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Several times what a kernel reads ahead at most.
    const LEN: u64 = 32 << 20;

    /// A file of which nothing is in memory, or `None` if this file system does not tell.
    fn cold_file() -> Option<Arc<File>> {
        let mut file = tempfile::tempfile().expect("temp");
        file.write_all(&vec![7; LEN as usize]).expect("writes");
        file.sync_all().expect("syncs");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advises");
        is_cold(&file, 0).then(|| Arc::new(file))
    }

    #[tokio::test]
    async fn what_is_not_in_memory_is_brought_there_before_it_is_sent() {
        let Some(file) = cold_file() else { return };
        assert_eq!(resident(&file, 0, LEN), 0);
        let mut cold = ColdReads::default();
        let first = std::future::poll_fn(|context| {
            let polled = cold.poll_warm(context, &file, 0, LEN);
            assert!(
                polled.is_ready() || cold.warming.is_some(),
                "it sleeps only while somebody else waits"
            );
            polled
        });
        assert_eq!(first.await, LEN);
        assert_eq!(resident(&file, 0, LEN), LEN);
    }

    #[test]
    fn a_range_counts_as_warm_up_to_its_first_gap() {
        let Some(file) = cold_file() else { return };
        // More than is asked for comes along, but never all of the file.
        bring(&file, 0, 3 * TRIED);
        let warm = resident(&file, 0, LEN);
        assert!((3 * TRIED..LEN).contains(&warm), "{warm}");
        assert_eq!(resident(&file, LEN - 1, 1), 0);
        assert_eq!(resident(&file, 10, 100), 100);
    }

    #[tokio::test]
    async fn what_is_known_of_a_range_is_not_asked_again() {
        let Some(file) = cold_file() else { return };
        let mut cold = ColdReads {
            warm_until: 1000,
            ..ColdReads::default()
        };
        let polled = std::future::poll_fn(|context| cold.poll_warm(context, &file, 400, 10_000));
        assert_eq!(polled.await, 600);
    }
}
