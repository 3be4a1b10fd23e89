//! What passes between those who hold a controller and the task that it lives in.

use std::sync::Arc;

use control::{MetadataEvent, Opening, Refusal, Registration, Suspicion, Watch};
use controller::{Input, Reply, RequestId};
use model::{BrokerId, Frame, IncarnationId};
use tokio::sync::{mpsc, oneshot};

use crate::history::Start;

/// What the task is told.
pub(crate) enum Message {
    /// A request that the controller answers.
    Call {
        make: Box<dyn FnOnce(RequestId) -> Input + Send>,
        answer: oneshot::Sender<Result<Reply, Refusal>>,
    },
    /// A registration: its position in history is checked first (METADATA 23).
    Register {
        registration: Box<Registration>,
        answer: oneshot::Sender<Result<Reply, Refusal>>,
    },
    /// Something to know.
    Tell(Input),
    /// Somebody wants to follow.
    Watch {
        watch: Watch,
        inbox: mpsc::Sender<Message>,
        answer: oneshot::Sender<Result<MetadataWatch, Refusal>>,
    },
    /// Enough.
    Shutdown,
}

/// Committed metadata as it comes.
#[derive(Debug)]
pub struct MetadataWatch {
    pub(crate) opening: Opening,
    pub(crate) start: Option<Start>,
    pub(crate) news: mpsc::Receiver<News>,
    pub(crate) watcher: (BrokerId, IncarnationId),
    pub(crate) inbox: mpsc::Sender<Message>,
}

/// What every watcher is told.
#[derive(Debug, Clone)]
pub(crate) enum News {
    Frames(Arc<[Frame]>),
    Suspicion(Suspicion),
}

impl MetadataWatch {
    /// Who serves, and how far its log went when the watch began.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The next piece of metadata; `None` if this reader was too slow or the controller has ended: watch again.
    pub async fn next(&mut self) -> Option<MetadataEvent> {
        match self.start.take() {
            Some(Start::Snapshot(image)) => return Some(MetadataEvent::Snapshot(image)),
            Some(Start::Frames(frames)) if !frames.is_empty() => return Some(MetadataEvent::Frames(frames)),
            Some(Start::Frames(_)) | None => {}
        }
        self.news.recv().await.map(|news| match news {
            News::Frames(frames) => MetadataEvent::Frames(frames.to_vec()),
            News::Suspicion(suspicion) => MetadataEvent::Suspicion(suspicion),
        })
    }
}

impl Drop for MetadataWatch {
    fn drop(&mut self) {
        let (broker, incarnation) = self.watcher;
        // If the inbox is full this is not told: it proves nothing, and silence fences a broker that has left.
        let _ = self
            .inbox
            .try_send(Message::Tell(Input::SessionEnded { broker, incarnation }));
    }
}
