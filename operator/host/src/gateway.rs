//! The way that a client's admin request takes.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use control::{AdminRequest, Refusal};

use crate::handle::ControllerHandle;

/// Decides which way a forwarded admin request takes: [`Direct`] to the controller, or, in the operator, through the
/// Topic resource first, so that there is one source of truth.
pub trait TopicGateway: Send + Sync + 'static {
    /// Answers with the Kafka response body.
    fn forward(&self, forwarded: Forwarded) -> Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send + '_>>;
}

/// A request on its way.
#[derive(Debug)]
pub struct Forwarded {
    /// What the client asks for.
    pub request: AdminRequest,
    /// Whom a broker has forwarded it to.
    pub controller: ControllerHandle,
}

/// Everything is decided by the controller itself: outside Kubernetes there is no other truth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl TopicGateway for Direct {
    fn forward(&self, forwarded: Forwarded) -> Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send + '_>> {
        Box::pin(async move { forwarded.controller.admin(forwarded.request).await })
    }
}
