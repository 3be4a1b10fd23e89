//! Who should be in sync: what a leader proposes to the controller.

use super::progress::Follower;
use super::{IsrMember, LeaderState};
use crate::isr::{IsrProposed, IsrState};
use crate::seeded::seeded_bug;

/// How long a proposal may be under way before the leader asks again.
// METADATA 12: in doubt it proposes again at the same partition epoch.
const ANSWER_PATIENCE_MS: i64 = 3_000;

impl LeaderState {
    /// The set to propose now, if there is one to propose, and no other is under way. It counts from here on.
    ///
    /// `max_lag_ms` is `replica.lag.time.max.ms`.
    pub fn propose(&mut self, now_ms: i64, max_lag_ms: i64) -> Option<IsrProposed> {
        if now_ms < self.propose_after_ms {
            return None;
        }
        let own = self.broker_epoch?;
        let wanted = self.wanted_isr(now_ms, max_lag_ms);
        // METADATA 12: a proposal in doubt dies only by another record, so even an unchanged set is proposed then.
        let differs = wanted.len() != self.isr.isr().len()
            || wanted.iter().any(|member| !self.isr.isr().contains(&member.broker));
        if !self.isr_is_in_doubt() && !differs {
            return None;
        }
        debug_assert!(wanted.contains(&IsrMember {
            broker: self.local,
            epoch: own
        }));
        let ids: Vec<_> = wanted.iter().map(|member| member.broker).collect();
        let state = std::mem::replace(&mut self.isr, IsrState::committed(Vec::new()));
        self.isr = state.proposed(&ids);
        self.propose_after_ms = now_ms.saturating_add(ANSWER_PATIENCE_MS);
        Some(IsrProposed {
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            isr: wanted,
        })
    }

    /// The proposal made at `partition_epoch` failed, or nobody answered. It stays in doubt; another may follow after
    /// `wait_ms`.
    pub fn proposal_failed(&mut self, proposed: &IsrProposed, now_ms: i64, wait_ms: i64) {
        if (proposed.leader_epoch, proposed.partition_epoch) == (self.leader_epoch, self.partition_epoch) {
            self.propose_after_ms = now_ms.saturating_add(wait_ms);
            if seeded_bug!(ProposalEndedByAnswer) {
                self.isr = IsrState::committed(self.isr.isr().to_vec());
            }
        }
    }

    /// Whether a look at [`Self::propose`] is worth while after a fetch of `follower`.
    pub fn may_join(&self, follower: model::BrokerId) -> bool {
        matches!(&self.isr, IsrState::Committed { isr } if !isr.contains(&follower))
            && self
                .follower(follower)
                .is_some_and(|follower| self.is_in_sync(follower))
    }

    /// All that should be in sync, in assignment order: members that keep up, and others that have caught up.
    fn wanted_isr(&self, now_ms: i64, max_lag_ms: i64) -> Vec<IsrMember> {
        let end = self.log_end_offset;
        let own = self.broker_epoch.map(|epoch| IsrMember {
            broker: self.local,
            epoch,
        });
        let members = self.followers.iter().filter(|follower| {
            if self.isr.isr().contains(&follower.id()) {
                // A fenced member leaves by the record that fences it; nobody may propose it.
                follower.is_eligible() && follower.keeps_up(end, now_ms, max_lag_ms)
            } else {
                self.is_in_sync(follower)
            }
        });
        let members = members.filter_map(|follower| {
            Some(IsrMember {
                broker: follower.id(),
                epoch: follower.broker_epoch()?,
            })
        });
        own.into_iter().chain(members).collect()
    }

    // METADATA 13: at or above the watermark and the leader's epoch start, fetched in this epoch.
    fn is_in_sync(&self, follower: &Follower) -> bool {
        if seeded_bug!(DeadFollowerProposed) {
            return follower.is_eligible();
        }
        if seeded_bug!(JoinsBelowWatermark) {
            return follower.is_eligible() && follower.log_end_offset().is_some();
        }
        follower.is_eligible()
            && follower
                .log_end_offset()
                .is_some_and(|end| end >= self.high_watermark && end >= self.epoch_start_offset)
    }
}
