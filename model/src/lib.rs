//! The nouns of the metadata log: ids, epochs, records, the image and its one fold.
