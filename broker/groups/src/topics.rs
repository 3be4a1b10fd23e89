//! The topics of the cluster, as far as groups care: names, ids and how many partitions each has.

use std::collections::BTreeMap;

use model::TopicId;

/// What a coordinator knows of the cluster. Replaced as a whole when a topic comes, goes or grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics {
    by_name: BTreeMap<String, (TopicId, i32)>,
    by_id: BTreeMap<TopicId, String>,
}

impl Topics {
    /// The id of a topic and the number of its partitions.
    pub fn get(&self, name: &str) -> Option<(TopicId, i32)> {
        self.by_name.get(name).copied()
    }

    /// The name of a topic.
    pub fn name(&self, id: TopicId) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

impl<N: Into<String>> FromIterator<(N, TopicId, i32)> for Topics {
    fn from_iter<T: IntoIterator<Item = (N, TopicId, i32)>>(topics: T) -> Self {
        let mut all = Self::default();
        for (name, id, partitions) in topics {
            let name = name.into();
            all.by_id.insert(id, name.clone());
            all.by_name.insert(name, (id, partitions));
        }
        all
    }
}
