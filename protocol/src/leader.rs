//! Where the leader of a partition is, as Produce and Fetch tell a client that asked the wrong broker (KIP-951).

use crate::codec::{EncodeError, Put};

/// The leader of a partition, in the response for that partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CurrentLeader {
    /// The broker; -1 if there is none.
    pub leader_id: i32,
    /// Its epoch; -1 if not known.
    pub leader_epoch: i32,
}

/// Where a broker named as leader listens, once in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeEndpoint<'a> {
    /// The broker.
    pub node_id: i32,
    /// Its host, on the listener that the request came by.
    pub host: &'a str,
    /// Its port there.
    pub port: u16,
    /// Its rack.
    pub rack: Option<&'a str>,
}

impl CurrentLeader {
    /// The value of the tagged field.
    pub(crate) fn tagged(self) -> Vec<u8> {
        let mut w = Vec::with_capacity(9);
        w.put_i32(self.leader_id);
        w.put_i32(self.leader_epoch);
        w.put_tagged_fields(&[]);
        w
    }
}

impl NodeEndpoint<'_> {
    /// The value of the tagged field that lists `endpoints`.
    pub(crate) fn tagged(endpoints: &[Self]) -> Result<Vec<u8>, EncodeError> {
        let mut w = Vec::new();
        w.put_array(true, Some(endpoints), |w, endpoint| {
            w.put_i32(endpoint.node_id);
            w.put_string(true, Some(endpoint.host))?;
            w.put_i32(i32::from(endpoint.port));
            w.put_string(true, endpoint.rack)?;
            w.put_tagged_fields(&[]);
            Ok(())
        })?;
        Ok(w)
    }
}
