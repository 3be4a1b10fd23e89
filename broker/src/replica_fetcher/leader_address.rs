//! Where a leader was reached.
//!
//! A process stays where it is for its whole life, so only its first connection needs the name server. Later ones are made
//! just when leaderships move, and the node that is drained may be that of the name server, too.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Target;
use crate::kafka_connection::KafkaConnection;

const CLIENT_ID: &str = "barnabas-replica";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LeaderAddress {
    reached: Option<(Target, SocketAddr)>,
}

impl LeaderAddress {
    /// Connects to `target`, by its name unless this life of it was reached before. Each address may take `patience`.
    pub(super) fn connect(&mut self, target: &Target, patience: Duration) -> io::Result<KafkaConnection> {
        let connection = match self.reached.take().filter(|(known, _)| known.is_same_life(target)) {
            // If it fails there, it is forgotten, and the next try asks for the name.
            Some((_, address)) => KafkaConnection::connect(address, CLIENT_ID, patience)?,
            None => KafkaConnection::connect((target.host.as_str(), target.port), CLIENT_ID, patience)?,
        };
        self.reached = Some((target.clone(), connection.peer()?));
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use model::BrokerEpoch;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn target(host: &str, port: u16, life: i64) -> Target {
        Target {
            host: host.to_owned(),
            port,
            leader_broker_epoch: BrokerEpoch(life),
            broker_epoch: BrokerEpoch(7),
        }
    }

    #[test]
    fn a_life_that_was_reached_is_reached_again_without_its_name() {
        let leader = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = leader.local_addr().expect("its address");
        let nameless = target("no-such-host.invalid", address.port(), 1);
        let mut known = LeaderAddress {
            reached: Some((nameless.clone(), address)),
        };
        for _ in 0..2 {
            known.connect(&nameless, PATIENCE).expect("where it was reached");
        }
        let registered_anew = Target {
            broker_epoch: BrokerEpoch(8),
            ..nameless
        };
        known
            .connect(&registered_anew, PATIENCE)
            .expect("its life is the same, ours is another");
    }

    #[test]
    fn another_life_is_looked_for_by_its_name() {
        let former = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let now = TcpListener::bind("127.0.0.1:0").expect("another");
        let [former, now] = [&former, &now].map(|listener| listener.local_addr().expect("its address"));
        let mut known = LeaderAddress {
            reached: Some((target("127.0.0.1", now.port(), 1), former)),
        };
        let connection = known
            .connect(&target("127.0.0.1", now.port(), 2), PATIENCE)
            .expect("by its name");
        assert_eq!(connection.peer().expect("an address"), now);
    }

    #[test]
    fn where_nobody_answers_any_more_the_next_try_asks_for_the_name() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let gone = TcpListener::bind("127.0.0.1:0")
            .and_then(|gone| gone.local_addr())
            .expect("an address");
        let target = target("127.0.0.1", listener.local_addr().expect("its address").port(), 1);
        let mut known = LeaderAddress {
            reached: Some((target.clone(), gone)),
        };
        known.connect(&target, PATIENCE).expect_err("nobody is there");
        known.connect(&target, PATIENCE).expect("by its name");
    }
}
