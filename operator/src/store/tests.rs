use super::*;

fn api_error(code: u16, reason: &str) -> kube::Error {
    let status = kube::core::Status {
        code,
        reason: reason.to_owned(),
        ..Default::default()
    };
    kube::Error::Api(Box::new(status))
}

#[test]
fn rule_02_only_what_was_surely_not_written_is_refused() {
    assert_eq!(failure(&api_error(409, "Conflict")), AppendFailure::Conflict);
    assert_eq!(failure(&api_error(409, "AlreadyExists")), AppendFailure::Conflict);
    assert_eq!(failure(&api_error(404, "NotFound")), AppendFailure::Conflict);
    for (code, reason) in [
        (422, "Invalid"),
        (403, "Forbidden"),
        (413, "RequestEntityTooLarge"),
        (429, "TooManyRequests"),
    ] {
        assert!(
            matches!(failure(&api_error(code, reason)), AppendFailure::Refused(_)),
            "{code}"
        );
    }
    for (code, reason) in [(500, "InternalError"), (503, "ServiceUnavailable"), (504, "Timeout")] {
        assert!(
            matches!(failure(&api_error(code, reason)), AppendFailure::Unknown(_)),
            "{code}"
        );
    }
}

#[test]
fn rule_04_a_chunk_names_the_snapshot_that_it_belongs_to() {
    let name: SnapshotName = "00000000000000000042-00c0ffee".parse().unwrap();
    let object = format!("castle-two-{name}-3");
    assert_eq!(snapshot_of("castle-two", &object), Some(name));
    assert_eq!(snapshot_of("castle", &object), None);
    assert_eq!(snapshot_of("castle-two", "castle-two-0"), None);
}
