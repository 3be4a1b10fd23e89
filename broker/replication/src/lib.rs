//! Replica state of a partition: high watermark, in-sync replicas, waiting requests.
