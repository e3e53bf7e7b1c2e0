//! One way of a simulated connection, and the two ends of both.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::life::Life;
use crate::network::{Network, Pieces, PipeId};
use crate::world::lock;

/// What may be under way before the writer has to wait.
const BYTES_MAX: usize = 256 * 1024;

/// Bytes from one node to another, in order.
pub struct Pipe {
    pub from: u64,
    pub to: u64,
    /// The machine at one end has lost its power: nothing more comes from there, nothing arrives.
    pub is_silent: bool,
    pieces: Pieces,
    bytes: usize,
    /// When the last piece arrives: none overtakes another.
    last_at: Option<Instant>,
    /// The writer has nothing more.
    is_finished: bool,
    /// The reader is gone.
    is_unread: bool,
    is_broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Ends that still hold it.
    ends: u8,
}

impl Pipe {
    pub fn new(from: u64, to: u64) -> Self {
        Self {
            from,
            to,
            is_silent: false,
            pieces: VecDeque::new(),
            bytes: 0,
            last_at: None,
            is_finished: false,
            is_unread: false,
            is_broken: false,
            reader: None,
            writer: None,
            ends: 2,
        }
    }

    pub fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    /// Breaks it, with what is under way.
    pub fn break_off(&mut self) {
        self.is_broken = true;
        self.pieces.clear();
        self.wake();
    }

    /// The process on `node` ends.
    pub fn end_at(&mut self, node: u64, silently: bool) {
        if silently {
            self.is_silent = true;
        } else if self.from == node {
            self.is_finished = true;
        } else {
            self.is_unread = true;
        }
        self.wake();
    }
}

/// One end of a connection.
pub struct End {
    network: Network,
    reads: PipeId,
    writes: PipeId,
    /// Until the next piece arrives.
    arrival: Option<Pin<Box<Sleep>>>,
    /// The process that holds it.
    life: Option<Arc<Life>>,
}

impl End {
    pub fn new(network: Network, reads: PipeId, writes: PipeId) -> Self {
        Self { network, reads, writes, arrival: None, life: None }
    }

    /// This end, held by the process of `life`.
    pub fn of(mut self, life: Arc<Life>) -> Self {
        self.life = Some(life);
        self
    }

    fn check(&self) -> io::Result<()> {
        self.life.as_ref().map_or(Ok(()), |life| life.check())
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let Self { network, reads, arrival: waits, .. } = self.get_mut();
        loop {
            let mut wires = lock(&network.wires);
            let wires = &mut *wires;
            let Some(pipe) = wires.pipes.get_mut(reads) else { return Poll::Ready(Ok(())) };
            if pipe.is_broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            pipe.reader = Some(context.waker().clone());
            if wires.cut.contains(&(pipe.from, pipe.to)) {
                return Poll::Pending;
            }
            let Some((at, piece)) = pipe.pieces.front_mut() else {
                let is_over = pipe.is_finished && !pipe.is_silent;
                return if is_over { Poll::Ready(Ok(())) } else { Poll::Pending };
            };
            if *at <= Instant::now() {
                let bytes = piece.len().min(into.remaining());
                into.put_slice(&piece[..bytes]);
                network.world.note(format_args!("{}>{} {bytes}", pipe.from, pipe.to));
                pipe.bytes -= bytes;
                piece.drain(..bytes);
                if piece.is_empty() {
                    pipe.pieces.pop_front();
                }
                pipe.writer.take().into_iter().for_each(Waker::wake);
                return Poll::Ready(Ok(()));
            }
            let mut arrival = Box::pin(sleep_until(*at));
            if arrival.as_mut().poll(context).is_pending() {
                *waits = Some(arrival);
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let mut wires = lock(&self.network.wires);
        let wires = &mut *wires;
        let gone = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        let Some(pipe) = wires.pipes.get(&self.writes) else { return gone() };
        let (from, to) = (pipe.from, pipe.to);
        let delay = wires.delay(from, to);
        let back_is_cut = wires.cut.contains(&(to, from));
        let Some(pipe) = wires.pipes.get_mut(&self.writes) else { return gone() };
        if pipe.is_broken || (pipe.is_unread && !pipe.is_silent && !back_is_cut) {
            return gone();
        }
        if pipe.bytes >= BYTES_MAX {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes += bytes.len();
        if !pipe.is_silent {
            let at = pipe.last_at.into_iter().fold(Instant::now() + delay, Instant::max);
            pipe.last_at = Some(at);
            pipe.pieces.push_back((at, bytes.to_vec()));
            pipe.reader.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(pipe) = lock(&self.network.wires).pipes.get_mut(&self.writes) {
            pipe.is_finished = true;
            pipe.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut wires = lock(&self.network.wires);
        for (id, is_writer) in [(self.writes, true), (self.reads, false)] {
            let Some(pipe) = wires.pipes.get_mut(&id) else { continue };
            if is_writer {
                pipe.is_finished = true;
            } else {
                pipe.is_unread = true;
            }
            pipe.wake();
            pipe.ends -= 1;
            if pipe.ends == 0 {
                wires.pipes.remove(&id);
            }
        }
    }
}
