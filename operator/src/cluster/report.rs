//! One event for each thing that happens to a cluster, when it begins and not again.

use std::collections::BTreeMap;

use crds::Cluster;
use model::{BrokerId, MetadataImage};

use super::Seen;
use super::rollout::Step;
use super::scale::Scale;
use crate::context::Context;

/// What people were last told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whether each broker was fenced; `None` before the first look, of which nobody needs to hear.
    fenced: Option<BTreeMap<BrokerId, bool>>,
    step: Option<Step>,
    scale: Option<Scale>,
    refused_size: Option<String>,
    paused: bool,
}

/// Tells what is new.
pub(super) fn tell(context: &Context, cluster: &Cluster, image: &MetadataImage, seen: &Seen, told: &mut Told) {
    let normal = |reason: &str, action: &str, note: String| context.events.normal(cluster, reason, action, note);
    let warning = |reason: &str, action: &str, note: String| context.events.warning(cluster, reason, action, note);

    let fenced: BTreeMap<_, _> = image
        .brokers()
        .values()
        .map(|broker| (broker.id, broker.fenced))
        .collect();
    if let Some(before) = &told.fenced {
        for (id, is_fenced) in &fenced {
            match (before.get(id), is_fenced) {
                (Some(true) | None, false) => normal("BrokerJoined", "Join", format!("broker {id} may lead")),
                (Some(false), true) => warning(
                    "BrokerFenced",
                    "Fence",
                    format!("broker {id} is out: its leaderships have moved to replicas in sync, where there were any"),
                ),
                _ => {}
            }
        }
    }
    told.fenced = Some(fenced);

    let step = seen.roll.as_ref().map(|(_, step)| step.clone());
    if step != told.step {
        match (&step, &told.step) {
            // The same broker, one look later.
            (Some(Step::Restarting(now)), Some(Step::Restart(before))) if now == before => {}
            (Some(Step::Restart(id) | Step::Restarting(id)), _) => {
                let note = format!(
                    "broker {id} restarts with the current template: no partition falls below min.insync.replicas by that"
                );
                normal("BrokerRestarting", "Roll", note);
            }
            // Others that restart in turn are waited for as a matter of course.
            (Some(Step::Hold(id, obstacle @ super::rollout::Obstacle::Partition { .. })), _) => {
                warning(
                    "RollPaused",
                    "Roll",
                    format!("broker {id} restarts next, but not now: {obstacle}"),
                );
            }
            (Some(Step::Settled), Some(Step::Restart(_) | Step::Restarting(_) | Step::Hold(..))) => {
                normal(
                    "RollFinished",
                    "Roll",
                    "every broker runs the current template".to_owned(),
                );
            }
            _ => {}
        }
        if step.is_some() && step != Some(Step::Unseen) {
            told.step = step;
        }
    }

    let scale = Some(seen.scale.clone());
    if scale != told.scale {
        match (&seen.scale, &told.scale) {
            (Scale::Refused { why, .. }, _) => warning("ScaleDownBlocked", "ScaleDown", why.clone()),
            // Not for each replica that moves.
            (Scale::Draining { broker, .. }, Some(Scale::Draining { broker: before, .. })) if broker == before => {}
            (Scale::Draining { broker, left, .. }, _) => {
                normal(
                    "BrokerDraining",
                    "ScaleDown",
                    format!("broker {broker} goes when its {left} replicas have moved"),
                );
            }
            (Scale::As(brokers), Some(Scale::Draining { .. })) => {
                normal(
                    "BrokerDrained",
                    "ScaleDown",
                    format!("no partition needs more than the {brokers} brokers that stay"),
                );
            }
            (Scale::As(_), _) => {}
        }
        told.scale = scale;
    }
    if seen.paused != told.paused {
        let (reason, note) = if seen.paused {
            (
                "Paused",
                "nothing of the cluster is changed until the annotation barnabas.dev/paused goes",
            )
        } else {
            ("Resumed", "the cluster is reconciled again")
        };
        normal(reason, "Pause", note.to_owned());
        told.paused = seen.paused;
    }
}

/// A volume that cannot grow, once.
pub(super) fn tell_of_volumes(context: &Context, cluster: &Cluster, refused: Option<&String>, told: &mut Told) {
    if refused != told.refused_size.as_ref() {
        if let Some(why) = refused {
            context.events.warning(cluster, "StorageNotExpandable", "Resize", why);
        }
        told.refused_size = refused.cloned();
    }
}
