//! Where clients connect, and what they are told to connect to.
//!
//! A listener is a name with one or more bound addresses and one advertised address. Every answer that names a broker
//! uses the advertised address of the listener that the request came in by, so that a client inside a cluster and one
//! outside never get each other's addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use broker_network::{Listener, ListenerName};
use model::Endpoint;

use crate::error::StartError;

/// The listener of an address without a name, as in Kafka.
pub const DEFAULT_LISTENER: &str = "PLAINTEXT";

/// Port of Kafka clients.
pub const DEFAULT_PORT: u16 = 9092;

/// How long the file of an advertised address is waited for.
const PORT_FILE_PATIENCE: Duration = Duration::from_mins(1);

/// `--listen [NAME=]HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Listener name.
    pub name: String,
    /// Name or address to bind.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
}

/// `--advertise [NAME=]HOST:PORT`, where PORT or all of HOST:PORT may be `@FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// Listener name.
    pub name: String,
    /// What clients are told.
    pub address: AdvertisedAddress,
}

/// An address, or where it will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdvertisedAddress {
    /// As given; port 0 is the port that was bound.
    Given(String, u16),
    /// The host, and a file that holds the port: a node port is known only after the pod's own Service was made.
    PortFile(String, PathBuf),
    /// A file that holds `HOST:PORT`, as a load balancer has it.
    File(PathBuf),
}

/// A listener with its sockets bound.
#[derive(Debug)]
pub struct BoundListener {
    /// Its name.
    pub name: String,
    /// Bound sockets.
    pub sockets: Vec<Listener>,
    /// Host that clients are told.
    pub advertised_host: String,
    /// Port that clients are told.
    pub advertised_port: u16,
}

impl BoundListener {
    /// Where clients are sent, as the cluster is told.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            listener: self.name.clone(),
            host: self.advertised_host.clone(),
            port: self.advertised_port,
        }
    }
}

impl fmt::Display for BoundListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.name, self.advertised_host, self.advertised_port)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = split_name(text)?;
        let (host, port) = parse_address(address)?;
        Ok(Self { name, host, port })
    }
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = split_name(text)?;
        if let Some(file) = address.strip_prefix('@').filter(|file| !file.is_empty()) {
            let address = AdvertisedAddress::File(PathBuf::from(file));
            return Ok(Self { name, address });
        }
        let address = match address.split_once(":@") {
            Some((host, file)) if !file.is_empty() => {
                AdvertisedAddress::PortFile(parse_host(host)?, PathBuf::from(file))
            }
            _ => parse_address(address).map(|(host, port)| AdvertisedAddress::Given(host, port))?,
        };
        if let AdvertisedAddress::Given(host, _) | AdvertisedAddress::PortFile(host, _) = &address {
            check_reachable(host)?;
        }
        Ok(Self { name, address })
    }
}

impl Listen {
    /// The address without the name.
    fn target(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name != DEFAULT_LISTENER {
            write!(f, "{}=", self.name)?;
        }
        f.write_str(&self.target())
    }
}

/// Checks the addresses and binds them all, or says which one failed and why.
///
/// With an empty `listen`, 127.0.0.1:9092 and `[::1]:9092` are taken, the second only where the machine has IPv6.
pub fn bind(listen: &[Listen], advertise: &[Advertise]) -> Result<Vec<BoundListener>, StartError> {
    let defaults = default_listen();
    let (wanted, by_default) = if listen.is_empty() {
        (defaults.as_slice(), true)
    } else {
        (listen, false)
    };
    for advertised in advertise {
        if !wanted.iter().any(|address| address.name == advertised.name) {
            return Err(StartError::AdvertiseWithoutListener {
                name: advertised.name.clone(),
            });
        }
    }
    let mut listeners: Vec<BoundListener> = Vec::new();
    for address in wanted {
        let advertised = advertise.iter().find(|a| a.name == address.name);
        let name = ListenerName::new(address.name.as_str());
        let mut targets = Listener::resolve(&name, &address.target())?;
        targets.sort_unstable();
        targets.dedup();
        if advertised.is_none() && targets.iter().any(|target| target.ip().is_unspecified()) {
            return Err(StartError::WildcardWithoutAdvertise {
                listen: address.to_string(),
                port: address.port,
            });
        }
        let mut sockets = Vec::new();
        for target in targets {
            match Listener::bind(name.clone(), target) {
                Ok(socket) => sockets.push(socket),
                Err(error) if by_default && target.is_ipv6() && error.is_address_unavailable() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(port) = sockets.first().map(|socket| socket.address().port()) else {
            continue;
        };
        if let Some(listener) = listeners.iter_mut().find(|l| l.name == address.name) {
            listener.sockets.extend(sockets);
            continue;
        }
        let (advertised_host, advertised_port) = match advertised.map(|advertised| &advertised.address) {
            None => (address.host.clone(), port),
            Some(AdvertisedAddress::Given(host, 0)) => (host.clone(), port),
            Some(AdvertisedAddress::Given(host, number)) => (host.clone(), *number),
            Some(AdvertisedAddress::PortFile(host, file)) => {
                (host.clone(), read_file(&address.name, file, parse_port)?)
            }
            Some(AdvertisedAddress::File(file)) => read_file(&address.name, file, parse_reachable)?,
        };
        listeners.push(BoundListener {
            name: address.name.clone(),
            sockets,
            advertised_host,
            advertised_port,
        });
    }
    Ok(listeners)
}

fn default_listen() -> Vec<Listen> {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
        .into_iter()
        .map(|ip| Listen {
            name: DEFAULT_LISTENER.to_owned(),
            host: ip.to_string(),
            port: DEFAULT_PORT,
        })
        .collect()
}

fn split_name(text: &str) -> Result<(String, &str), String> {
    let (name, address) = text.split_once('=').unwrap_or((DEFAULT_LISTENER, text));
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(legal) {
        return Err(format!("{name:?} is no listener name: use letters, digits, - and _"));
    }
    Ok((name.to_owned(), address))
}

fn parse_address(address: &str) -> Result<(String, u16), String> {
    let complaint = || format!("{address:?} is no address: write HOST:PORT, for example 127.0.0.1:9092 or [::1]:9092");
    let (host, port) = address.rsplit_once(':').ok_or_else(complaint)?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().map_err(|_| {
        if is_number {
            format!("{port} is no port: the largest is {}", u16::MAX)
        } else {
            complaint()
        }
    })?;
    let host = parse_host(host).map_err(|_| complaint())?;
    Ok((host, port))
}

/// A name or an address; one of IPv6 may stand in brackets.
fn parse_host(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_name = !host.is_empty() && host.chars().all(legal);
    if is_name || host.parse::<Ipv6Addr>().is_ok() {
        return Ok(host.to_owned());
    }
    Err(format!(
        "{text:?} is no host: write a name or an address, without scheme or path"
    ))
}

/// What a load balancer's file says.
fn parse_reachable(text: &str) -> Result<(String, u16), String> {
    let (host, port) = parse_address(text)?;
    check_reachable(&host)?;
    if port == 0 {
        return Err(format!("it holds {text:?}, whose port is none"));
    }
    Ok((host, port))
}

fn check_reachable(host: &str) -> Result<(), String> {
    if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return Err(format!(
            "{host} is a wildcard: give the name or address under which clients reach this broker"
        ));
    }
    Ok(())
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("it holds {text:?}, which is no port")),
    }
}

/// Waits for the file of an address, which appears a little after the pod: Services are made beside it.
fn read_file<T>(listener: &str, file: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, StartError> {
    let give_up = Instant::now() + PORT_FILE_PATIENCE;
    let mut told = false;
    loop {
        let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
        let reason = match read.and_then(|text| parse(text.trim())) {
            Ok(address) => return Ok(address),
            Err(reason) => reason,
        };
        if Instant::now() >= give_up {
            return Err(StartError::PortFile {
                listener: listener.to_owned(),
                path: file.to_path_buf(),
                reason,
            });
        }
        if !told {
            tracing::info!(listener, file = %file.display(), "waiting for the advertised address to be written");
            told = true;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Listen {
        text.parse().expect("a legal address")
    }

    #[test]
    fn an_address_may_carry_a_listener_name() {
        let address = listen("external=[::1]:9094");
        assert_eq!(address.name, "external");
        assert_eq!((address.host.as_str(), address.port), ("::1", 9094));
        assert_eq!(address.to_string(), "external=[::1]:9094");
        assert_eq!(listen("localhost:1").name, DEFAULT_LISTENER);
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["9092", ":9092", "host:", "host:99999", "::1:9092:x", "a b=h:1", "=h:1"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_needs_an_advertised_address() {
        let error = bind(&[listen("0.0.0.0:0")], &[]).expect_err("a wildcard");
        assert!(error.to_string().contains("--advertise"), "{error}");
        let told = "broker.example:9092".parse::<Advertise>().expect("legal");
        let bound = bind(&[listen("0.0.0.0:0")], &[told]).expect("free port");
        assert_eq!(bound[0].advertised_host, "broker.example");
        assert_eq!(bound[0].advertised_port, 9092);
        assert!("0.0.0.0:9092".parse::<Advertise>().is_err());
    }

    #[test]
    fn clients_are_told_nothing_that_no_client_could_resolve() {
        for (text, why) in [
            ("bad host:9092", "no address"),
            ("http://h:9092", "no address"),
            ("h/:9092", "no address"),
            (":9092", "no address"),
            ("[::1]", "no address"),
            ("h:x", "no address"),
            ("h:99999", "no port"),
            ("0.0.0.0:9092", "wildcard"),
            ("bad host:@port", "no host"),
            ("http://h:@port", "no host"),
            ("[::]:@port", "wildcard"),
        ] {
            let refused = text.parse::<Advertise>().expect_err("is refused");
            assert!(refused.contains(why), "{text}: {refused}");
        }
        for (text, host) in [
            ("a_b.example.:9092", "a_b.example."),
            ("[::1]:9092", "::1"),
            ("::1:9092", "::1"),
            ("bücher.example:9092", "bücher.example"),
        ] {
            let told = text.parse::<Advertise>().expect("is legal");
            assert_eq!(told.address, AdvertisedAddress::Given(host.to_owned(), 9092));
        }
        let told = "[::1]:@port".parse::<Advertise>().expect("is legal");
        assert_eq!(
            told.address,
            AdvertisedAddress::PortFile("::1".to_owned(), "port".into())
        );
        assert!(parse_reachable("h:0").is_err() && parse_reachable("0.0.0.0:1").is_err());
        assert_eq!(parse_reachable("h:1"), Ok(("h".to_owned(), 1)));
    }

    #[test]
    fn a_taken_port_is_named_with_its_listener() {
        let first = bind(&[listen("127.0.0.1:0")], &[]).expect("free port");
        let taken = format!("internal=127.0.0.1:{}", first[0].advertised_port);
        let error = bind(&[listen(&taken)], &[]).expect_err("taken");
        let sentence = error.to_string();
        assert!(sentence.contains("internal"), "{sentence}");
        assert!(sentence.contains("--listen"), "{sentence}");
    }

    #[test]
    fn addresses_of_one_name_are_one_listener() {
        let bound = bind(&[listen("127.0.0.1:0"), listen("127.0.0.2:0")], &[]).expect("free ports");
        assert_eq!(bound.len(), 1);
        assert_eq!(bound[0].sockets.len(), 2);
        assert_eq!(bound[0].advertised_host, "127.0.0.1");
    }

    #[test]
    fn an_advertised_port_may_come_from_a_file() {
        let temp = tempfile::tempdir().expect("temp");
        let file = temp.path().join("port");
        std::fs::write(&file, "31094\n").expect("write");
        let told = format!("plain=node.example:@{}", file.display())
            .parse::<Advertise>()
            .expect("legal");
        let bound = bind(&[listen("plain=0.0.0.0:0")], &[told]).expect("free port");
        assert_eq!(
            (bound[0].advertised_host.as_str(), bound[0].advertised_port),
            ("node.example", 31094)
        );
    }

    #[test]
    fn a_whole_advertised_address_may_come_from_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("address");
        std::fs::write(&file, "lb.example.org:9094\n").expect("written");
        let told = format!("plain=@{}", file.display())
            .parse::<Advertise>()
            .expect("legal");
        let bound = bind(&[listen("plain=0.0.0.0:0")], &[told]).expect("free port");
        assert_eq!(
            (bound[0].advertised_host.as_str(), bound[0].advertised_port),
            ("lb.example.org", 9094)
        );
    }

    #[test]
    fn an_advertised_address_needs_its_listener() {
        let told = "external=h:1".parse::<Advertise>().expect("legal");
        let error = bind(&[listen("127.0.0.1:0")], &[told]).expect_err("no such listener");
        assert!(error.to_string().contains("external"), "{error}");
    }
}
