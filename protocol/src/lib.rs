//! The Kafka wire protocol: generated codecs, record batch views, error codes and the table of APIs.
