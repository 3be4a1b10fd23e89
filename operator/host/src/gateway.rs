//! The way that a client's admin request takes outside Kubernetes.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use control::Refusal;

use crate::handle::{Forwarded, TopicGateway};

/// Everything is decided by the controller itself: outside Kubernetes there is no other truth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl TopicGateway for Direct {
    fn forward(&self, forwarded: Forwarded) -> Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send + '_>> {
        Box::pin(async move { forwarded.controller.admin(forwarded.request).await })
    }
}
