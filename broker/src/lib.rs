//! The broker: a partitioned log that speaks the Kafka protocol.
