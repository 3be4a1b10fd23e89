//! The API server: the metadata log's object with compare-and-swap, its snapshots, and Leases.

use std::collections::BTreeMap;

use controller::StoredLog;
use model::{BrokerId, IncarnationId};

use super::message::{ApiRequest, ApiResponse, LeaseView, ProcessId};
use crate::checker::{Checker, Violation};
use crate::random::Random;
use crate::store::{Rules, Store, Written};

/// Earlier states of the log that a stale read may find.
const REMEMBERED: usize = 4;

/// The API server and etcd.
#[derive(Debug)]
pub(super) struct Kubernetes {
    store: Store,
    pub(super) checker: Checker,
    past: Vec<StoredLog>,
    lease: LeaseView,
    broker_leases: BTreeMap<BrokerId, IncarnationId>,
    /// Of a hundred reads so many are answered from an old cache.
    pub(super) stale_percent: u64,
    pub(super) stale_reads: u64,
    pub(super) conflicts: u64,
}

impl Kubernetes {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            store: Store::new(rules),
            checker: Checker::default(),
            past: Vec::new(),
            lease: LeaseView {
                version: 1,
                holder: None,
            },
            broker_leases: BTreeMap::new(),
            stale_percent: 0,
            stale_reads: 0,
            conflicts: 0,
        }
    }

    /// Executes a request. A changed broker Lease is for all watchers to see.
    pub(super) fn execute(
        &mut self,
        from: ProcessId,
        request: ApiRequest,
        random: &mut Random,
    ) -> Result<(ApiResponse, Option<(BrokerId, IncarnationId)>), Violation> {
        let mut renewed = None;
        let response = match request {
            ApiRequest::ReadLog { with_snapshot } => ApiResponse::Log(self.read(with_snapshot, random).map(Box::new)),
            ApiRequest::Append { expected, document } => {
                let before = self.store.read(true);
                let written = self.store.replace(expected.as_ref(), &document, &mut self.checker)?;
                if written == Written::Conflict {
                    self.conflicts += 1;
                } else {
                    self.past.extend(before);
                    if self.past.len() > REMEMBERED {
                        self.past.remove(0);
                    }
                }
                ApiResponse::Appended(written)
            }
            ApiRequest::WriteSnapshot { name, chunks } => {
                self.store.write_snapshot(name, chunks);
                ApiResponse::Done
            }
            ApiRequest::DeleteSnapshots { name } => {
                self.store.delete_snapshots_below(name)?;
                ApiResponse::Done
            }
            ApiRequest::ReadLease => ApiResponse::Lease(self.lease),
            ApiRequest::TakeLease { expected } => {
                if expected == self.lease.version {
                    self.lease.version += 1;
                    self.lease.holder = Some(from);
                    ApiResponse::LeaseTaken(Some(self.lease.version))
                } else {
                    ApiResponse::LeaseTaken(None)
                }
            }
            ApiRequest::ReleaseLease => {
                if self.lease.holder == Some(from) {
                    self.lose_lease();
                }
                ApiResponse::Done
            }
            ApiRequest::RenewBrokerLease { broker, incarnation } => {
                self.broker_leases.insert(broker, incarnation);
                renewed = Some((broker, incarnation));
                ApiResponse::Done
            }
        };
        Ok((response, renewed))
    }

    /// Somebody deletes the controller's Lease: a safety property may not rest on it.
    pub(super) fn lose_lease(&mut self) {
        self.lease.version += 1;
        self.lease.holder = None;
    }

    /// Somebody edits a label of the log's object.
    pub(super) fn touch(&mut self) {
        self.store.touch();
    }

    /// A replica of the API server that lags, or a cache, answers with what once was.
    fn read(&mut self, with_snapshot: bool, random: &mut Random) -> Option<StoredLog> {
        if !self.past.is_empty() && random.chance(self.stale_percent) {
            self.stale_reads += 1;
            return self.past.get(random.below(self.past.len())).cloned();
        }
        self.store.read(with_snapshot)
    }
}
