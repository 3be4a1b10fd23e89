//! A server with a handler that does what its frames say, and a blocking client.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use broker_network::{
    ConnectionInfo, Frame, Listener, ListenerName, NetworkConfig, NetworkMetrics, RequestHandler, Response, Responses,
    Server, Slot,
};

/// No condition takes this long, however busy the machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// Does what the first byte of a frame says:
/// `=x` answers x, `+x` the same without allocation, `^x` x in capitals, patched in place, `*n` n bytes,
/// `@x` later under the name x, `0` nothing, `!` goodbye and close, `?` the thread's name.
#[derive(Default)]
struct Obedient {
    slots: Mutex<HashMap<String, Slot>>,
    calls: AtomicUsize,
    disconnected: Arc<AtomicUsize>,
}

struct Connected(Arc<AtomicUsize>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl RequestHandler for Obedient {
    type Connection = Connected;

    fn connected(&self, info: &ConnectionInfo) -> Connected {
        assert_eq!(info.listener.as_str(), "TEST");
        assert!(info.peer.ip().is_loopback() && info.local.ip().is_loopback());
        Connected(Arc::clone(&self.disconnected))
    }

    /// Frames that begin with `s` are small ones.
    fn frame_limit(&self, start: &[u8], limit: usize) -> usize {
        if start.first() == Some(&b's') { 1 << 20 } else { limit }
    }

    fn handle(&self, _: &mut Connected, frames: &mut [Frame<'_>], responses: &mut Responses) -> usize {
        self.calls.fetch_add(1, Ordering::SeqCst);
        for (index, frame) in frames.iter_mut().enumerate() {
            if responses.is_full() {
                return index;
            }
            let (verb, rest) = frame.split_first_mut().expect("tests send no empty frame");
            match verb {
                b'=' => responses.push(Response::owned(rest.to_vec())),
                b'+' => responses.push_with(|buffer| buffer.extend_from_slice(rest)),
                b'^' => {
                    rest.make_ascii_uppercase();
                    responses.push(Response::owned(rest.to_vec()));
                }
                b'*' => {
                    let length = std::str::from_utf8(rest).unwrap().parse().unwrap();
                    responses.push(Response::owned(vec![b'*'; length]));
                }
                b'@' => {
                    let name = String::from_utf8(rest.to_vec()).unwrap();
                    let slot = responses.push_later();
                    self.slots.lock().unwrap().insert(name, slot);
                }
                b'0' => responses.push_nothing(),
                b'!' => {
                    responses.push(Response::owned(b"goodbye".to_vec()));
                    responses.close("a test asked for it");
                }
                b'?' => {
                    let name = std::thread::current().name().unwrap_or_default().to_owned();
                    responses.push(Response::owned(name.into_bytes()));
                }
                other => panic!("unknown verb {other}"),
            }
        }
        frames.len()
    }
}

/// A running server on a free port.
pub struct Harness {
    server: Option<Server>,
    handler: Arc<Obedient>,
    metrics: Arc<NetworkMetrics>,
    frame_limit: Arc<AtomicUsize>,
    address: SocketAddr,
}

impl Harness {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut NetworkConfig)) -> Self {
        let listener = Listener::bind(ListenerName::new("TEST"), "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let mut config = NetworkConfig {
            threads: 2,
            ..NetworkConfig::new(vec![listener])
        };
        change(&mut config);
        let frame_limit = Arc::clone(&config.frame_limit);
        let handler = Arc::new(Obedient::default());
        let server = Server::start(config, Arc::clone(&handler)).unwrap();
        let metrics = Arc::clone(server.metrics());
        Self {
            server: Some(server),
            handler,
            metrics,
            frame_limit,
            address,
        }
    }

    pub fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        // A small request must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true).unwrap();
        Client {
            stream: Arc::new(stream),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn metrics(&self) -> &NetworkMetrics {
        &self.metrics
    }

    pub fn frame_limit(&self) -> &AtomicUsize {
        &self.frame_limit
    }

    /// Calls of the handler.
    pub fn calls(&self) -> usize {
        self.handler.calls.load(Ordering::SeqCst)
    }

    /// Connections whose state was dropped.
    pub fn disconnected(&self) -> usize {
        self.handler.disconnected.load(Ordering::SeqCst)
    }

    /// Waits until the request of this name waits for its answer.
    pub fn held(&self, name: &str) {
        eventually(name, || self.handler.slots.lock().unwrap().contains_key(name));
    }

    /// How many requests wait for their answers.
    pub fn waiting(&self) -> usize {
        self.handler.slots.lock().unwrap().len()
    }

    pub fn complete(&self, name: &str, answer: &str) {
        self.complete_with(name, Response::owned(answer.as_bytes().to_vec()));
    }

    pub fn complete_with(&self, name: &str, response: Response) {
        let slot = self.handler.slots.lock().unwrap().remove(name).unwrap();
        slot.complete(response);
    }

    pub fn drop_slot(&self, name: &str) {
        self.handler.slots.lock().unwrap().remove(name).unwrap();
    }

    pub fn is_abandoned(&self, name: &str) -> bool {
        self.handler.slots.lock().unwrap()[name].is_abandoned()
    }

    /// Shuts the server down on a thread of its own.
    pub fn shutdown(&mut self, grace: Duration) -> JoinHandle<()> {
        let server = self.server.take().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(server.shutdown(grace));
        })
    }
}

/// A blocking client. Clones share the connection.
#[derive(Clone)]
pub struct Client {
    stream: Arc<TcpStream>,
}

impl Client {
    /// Frames as they are sent.
    pub fn wire(frames: &[&[u8]]) -> Vec<u8> {
        let mut wire = Vec::new();
        for frame in frames {
            wire.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            wire.extend_from_slice(frame);
        }
        wire
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.send_all(&[frame]);
    }

    pub fn send_all(&mut self, frames: &[&[u8]]) {
        self.write(&Self::wire(frames));
    }

    pub fn write(&mut self, bytes: &[u8]) {
        (&*self.stream).write_all(bytes).unwrap();
    }

    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.stream).write(bytes)
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn set_nonblocking(&mut self) {
        self.stream.set_nonblocking(true).unwrap();
    }

    pub fn set_blocking(&mut self) {
        self.stream.set_nonblocking(false).unwrap();
    }

    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The body of the next frame.
    pub fn receive(&mut self) -> Vec<u8> {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut prefix = [0; 4];
        (&*self.stream).read_exact(&mut prefix).unwrap();
        let mut body = vec![0; i32::from_be_bytes(prefix) as usize];
        (&*self.stream).read_exact(&mut body).unwrap();
        body
    }

    /// Sees that nothing has arrived so far. A response that is sent wrongly would at the latest show
    /// in the order of those received after this.
    pub fn receives_nothing(&mut self) {
        self.stream.set_nonblocking(true).unwrap();
        let error = (&*self.stream).read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).unwrap();
    }

    /// Everything until the server closes or resets the connection.
    pub fn read_to_end(&mut self, bytes: &mut Vec<u8>) {
        self.stream.set_nonblocking(false).unwrap();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if let Err(error) = (&*self.stream).read_to_end(bytes) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
    }

    /// Waits until the server ends the connection: whether that was a reset, without another byte.
    pub fn is_reset(&mut self) -> bool {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let read = (&*self.stream).read(&mut [0; 1]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    }

    /// Waits until the server closes the connection without another byte.
    pub fn is_closed(&mut self) -> bool {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes);
        bytes.is_empty()
    }
}
