//! `operator crds`: the definitions of our resources, printed or applied.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tracing::info;

use crate::error::OperatorError;

/// Annotation of an applied definition: the release that it comes from.
pub const RELEASE: &str = "barnabas.dev/release";

/// Who owns the definitions once they were applied.
const FIELD_MANAGER: &str = "barnabas-operator-crds";
/// A definition is served within moments; this is for an API server in trouble.
const TRIES: usize = 120;
const PAUSE: Duration = Duration::from_millis(500);

/// Writes every definition to `out`.
pub fn print(out: &mut impl std::io::Write) -> anyhow::Result<()> {
    for definition in crds::definitions() {
        writeln!(out, "---")?;
        out.write_all(definition.to_yaml().map_err(anyhow::Error::msg)?.as_bytes())?;
    }
    Ok(())
}

/// Makes the API server's definitions those of this program, whichever release wrote them, and waits until they are
/// served. Helm installs what is in a chart's `crds/` once and never touches it again.
pub async fn apply() -> Result<(), OperatorError> {
    let api: Api<CustomResourceDefinition> = Api::all(Client::try_default().await?);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    for definition in crds::definitions() {
        let name = definition.definition.name_any();
        let wanted = of_this_release(&definition.definition)?;
        api.patch(&name, &params, &Patch::Apply(wanted)).await?;
        until_served(&api, &name).await?;
        info!(definition = %name, release = crate::VERSION, "applied");
    }
    Ok(())
}

/// What is applied: the definition, marked with the release.
fn of_this_release(definition: &CustomResourceDefinition) -> Result<Value, OperatorError> {
    let mut wanted = serde_json::to_value(definition).map_err(kube::Error::SerdeError)?;
    if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), json!({ RELEASE: crate::VERSION }));
    }
    Ok(wanted)
}

async fn until_served(api: &Api<CustomResourceDefinition>, name: &str) -> Result<(), OperatorError> {
    for _ in 0..TRIES {
        if is_served(&api.get(name).await?) {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(OperatorError::Controller(format!(
        "definition {name} is applied and not served after a minute"
    )))
}

fn is_served(definition: &CustomResourceDefinition) -> bool {
    let status = definition.status.iter();
    let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Established" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_applied_is_what_is_printed_and_says_its_release() {
        for definition in crds::definitions() {
            let mut wanted = of_this_release(&definition.definition).unwrap();
            let annotations = wanted["metadata"].as_object_mut().unwrap().remove("annotations");
            assert_eq!(annotations.unwrap()[RELEASE], crate::VERSION);
            assert_eq!(wanted, serde_json::to_value(&definition.definition).unwrap());
            assert_eq!(wanted["kind"], "CustomResourceDefinition");
        }
    }

    #[test]
    fn the_printed_definitions_are_one_document_each() {
        let mut text = Vec::new();
        print(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.matches("---\n").count(), crds::definitions().len());
    }

    #[test]
    fn a_definition_without_conditions_is_not_served_yet() {
        let mut definition = crds::definitions().remove(0).definition;
        assert!(!is_served(&definition));
        definition.status = serde_json::from_value(json!({"conditions": [
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": ""}
        ]}))
        .unwrap();
        assert!(is_served(&definition));
    }
}
