//! What can go wrong in the operator, one variant for each remedy.

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The API server did not answer, or refused: try again.
    #[error("the API server: {}", sentence(.0))]
    Kubernetes(#[source] Box<kube::Error>),
    /// The authority's Secret holds no certificate and key: a human restores or deletes it.
    #[error(
        "Secret {} holds no tls.crt and tls.key in PEM: restore it, or delete it and restart the brokers after the operator",
        crate::names::AUTHORITY_SECRET
    )]
    BadAuthority,
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A port could not be opened.
    #[error("{what} cannot listen on {address}: {source}")]
    Bind {
        /// Whose port.
        what: &'static str,
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Somebody else's object has a name that the cluster needs: a human renames one of them.
    #[error(
        "{kind} {name} is there already and was not made for Cluster {cluster}: delete it, or give the Cluster another name"
    )]
    Foreign {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The Cluster that needs the name.
        cluster: String,
    },
    /// The metadata log is missing or older than what is known; nothing may be decided.
    #[error("{0}")]
    Regressed(String),
    /// This replica cannot read the metadata log: a newer one may.
    #[error("{0}")]
    Unreadable(String),
    /// The controller stopped or could not start.
    #[error("the controller: {0}")]
    Controller(String),
}

impl OperatorError {
    /// Whether the API server was not reached or could not answer: it will, without anybody's doing.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Kubernetes(error) => match &**error {
                kube::Error::Api(status) => status.code >= 500 || status.code == 429,
                kube::Error::HyperError(_) | kube::Error::Service(_) => true,
                _ => false,
            },
            _ => false,
        }
    }
}

impl From<kube::Error> for OperatorError {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(Box::new(error))
    }
}

/// Whether the object to be created was there already.
pub fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_already_exists())
}

/// Whether somebody else wrote the object since it was read.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() && !status.is_already_exists())
}

/// Whether the object is not there.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// What the API server said, without its whole answer behind it.
pub fn sentence(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
