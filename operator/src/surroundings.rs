//! What a cluster's objects need to know of the operator.

/// What the objects need to know beside the Cluster itself.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Image of a broker if the Cluster names none, `repository:tag`.
    pub broker_image: String,
    /// `host:port` where brokers find the controller.
    pub control_address: String,
    /// Certificate authority of the control port, PEM.
    pub control_ca: String,
}
