//! Side by side with Apache Kafka: a raw load generator and its report.
