//! The operator: reconciles Cluster and Topic resources and hosts the controllers.
