//! One request on its way to its handler, and how a handler answers.

use std::sync::Arc;

use broker_network::{Response, Responses, Slot};
use model::BrokerId;
use protocol::api::Api;
use protocol::header::put_response_header;
use protocol::{DecodeError, EncodeError, Message, Reader, Request};

use super::client_connection::ClientConnection;
use crate::clock::monotonic;
use crate::context::BrokerContext;
use crate::departures::MOMENT;

/// A request that cannot be answered: its connection is closed, and nobody else notices.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("the request cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    #[error("the response cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error("API key {key} version {version} is not served")]
    Unsupported { key: i16, version: i16 },
}

/// One request on its way to its handler.
pub(super) struct Call<'a> {
    pub(super) broker: &'a Arc<BrokerContext>,
    pub(super) connection: &'a ClientConnection,
    pub(super) reply: ReplyTo,
    pub(super) client_id: &'a str,
    pub(super) body: &'a [u8],
}

/// How a response begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplyTo {
    pub(super) api: &'static Api,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
}

impl Call<'_> {
    /// The body, which must be whole and nothing more.
    pub(super) fn decode<R: Request>(&self) -> Result<R, BadRequest> {
        let mut reader = Reader::new(self.body);
        Ok(R::decode(&mut reader, self.reply.version)?)
    }

    pub(super) fn version(&self) -> i16 {
        self.reply.version
    }

    /// Answers now.
    pub(super) fn answer<M: Message>(&self, responses: &mut Responses, body: &M) -> Result<(), BadRequest> {
        responses.push(Response::owned(self.reply.encode(body)?));
        Ok(())
    }

    /// Answers with what `answer` makes of the metadata for this listener and version, and waits a moment before if it names
    /// brokers of which the controller may be about to say that they are dead: see [`crate::departures`].
    pub(super) fn answer_when_settled<M: Message + 'static>(
        &self,
        responses: &mut Responses,
        named: impl Fn(&M) -> Vec<BrokerId> + 'static,
        answer: impl Fn(&BrokerContext, &str, i16) -> M + 'static,
    ) -> Result<(), BadRequest> {
        let now = monotonic();
        let mut body = answer(self.broker, &self.connection.listener, self.version());
        let question = (self.reply.api.key as i16, self.body);
        let repeated = self.connection.last_question.borrow_mut().is_repeated(question, now);
        let others = |body: &M| named(body).iter().any(|broker| *broker != self.broker.id);
        let insists = repeated && others(&body);
        if !insists && self.broker.departures.doubt(|| named(&body), now).is_none() {
            return self.answer(responses, &body);
        }
        let (slot, reply) = (responses.push_later(), self.reply);
        let (broker, listener) = (Arc::clone(self.broker), Arc::clone(&self.connection.listener));
        tokio::task::spawn_local(async move {
            let answer = || answer(&broker, &listener, reply.version);
            if insists {
                let before = named(&body);
                let changed = |_: &_| named(&answer()) != before;
                broker.metadata.wait_for(MOMENT, changed).await;
                body = answer();
            }
            if let Some(doubt) = broker.departures.doubt(|| named(&body), monotonic()) {
                let settled = |image: &_| doubt.is_settled(image);
                broker.metadata.wait_for(doubt.patience, settled).await;
                body = answer();
            }
            reply.answer_later(slot, &body);
        });
        Ok(())
    }
}

impl ReplyTo {
    pub(super) fn start(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        put_response_header(&mut bytes, self.api, self.version, self.correlation_id);
        bytes
    }

    pub(super) fn encode<M: Message>(&self, body: &M) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = self.start();
        body.encode(&mut bytes, self.version)?;
        Ok(bytes)
    }

    /// Answers through a slot; a response that cannot be encoded closes the connection.
    pub(super) fn answer_later<M: Message>(&self, slot: Slot, body: &M) {
        match self.encode(body) {
            Ok(bytes) => slot.complete(Response::owned(bytes)),
            Err(error) => {
                tracing::error!(api = %self.api.key, version = self.version, %error, "response cannot be encoded");
                slot.close();
            }
        }
    }
}
