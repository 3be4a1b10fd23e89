//! Schemas to Rust: a module for each API with its structs, their defaults and their codecs.

use crate::schema::{Api, Field, Kind, Struct, Type};
use crate::source::Source;
use crate::{decode, encode, filled};

/// The attribute on what only tests and tools may use.
const TWIN: &str = "#[cfg(any(test, feature = \"client\"))]";

/// The attribute on what only tests and makers of samples may use.
pub(crate) const SAMPLES: &str = "#[cfg(any(test, feature = \"samples\"))]";

/// The whole of `messages.rs`.
pub(crate) fn messages(apis: &[Api]) -> String {
    let mut source = Source::default();
    for api in apis {
        module(&mut source, api);
    }
    list(&mut source, apis);
    visit(&mut source, apis);
    source.finish()
}

fn module(source: &mut Source, api: &Api) {
    source.line(format!(
        "/// {}, key {}, versions {} to {}.",
        api.name, api.key, api.versions.min, api.versions.max
    ));
    if api.structs.iter().all(|item| item.twin) {
        source.line(TWIN);
    }
    source.block(format!("pub mod {}", api.module()), |source| {
        source.line("#[allow(unused_imports)]");
        source.line("use super::prelude::*;");
        for item in &api.structs {
            source.line("");
            structure(source, item);
            default(source, item);
            twin(source, item);
            source.block(format!("impl Message for {}", item.name), |source| {
                min_size(source, api, item);
                decode::function(source, api, item);
                encode::function(source, api, item);
            });
            filled::implementation(source, item);
        }
        source.line("");
        request(source, api);
    });
    source.line("");
}

fn twin(source: &mut Source, item: &Struct) {
    if item.twin {
        source.line(TWIN);
    }
}

fn structure(source: &mut Source, item: &Struct) {
    source.line(match item.kind {
        Kind::Request => format!("/// The body of a request: {}.", item.name),
        Kind::Response => format!("/// The body of a response: {}.", item.name),
        Kind::Nested => format!("/// Part of a message: {}.", item.name),
    });
    twin(source, item);
    source.line("#[derive(Debug, Clone, PartialEq, Eq)]");
    source.line("#[cfg_attr(feature = \"serde\", derive(serde::Serialize, serde::Deserialize))]");
    source.line("#[cfg_attr(feature = \"serde\", serde(default, deny_unknown_fields))]");
    source.block(format!("pub struct {}", item.name), |source| {
        for field in &item.fields {
            source.line(format!("/// {}", facts(field, item)));
            source.line(format!("pub {}: {},", field.name, field.rust_type()));
        }
    });
}

/// What the schema says about a field, as its documentation.
fn facts(field: &Field, item: &Struct) -> String {
    let versions = if field.versions == item.versions {
        "Every version".to_owned()
    } else if field.versions.max == item.versions.max {
        format!("Since version {}", field.versions.min)
    } else {
        format!("Versions {} to {}", field.versions.min, field.versions.max)
    };
    let nullable = field.nullable.map(|range| {
        if range == field.versions {
            "may be null".to_owned()
        } else {
            format!("may be null since version {}", range.min)
        }
    });
    let tag = field.tag.map(|tag| format!("tag {tag}"));
    let default = field.default.as_ref().map(|literal| format!("{literal} if not given"));
    let facts: Vec<String> = [Some(versions), nullable, tag, default].into_iter().flatten().collect();
    format!("{}.", facts.join("; "))
}

fn default(source: &mut Source, item: &Struct) {
    twin(source, item);
    source.block(format!("impl Default for {}", item.name), |source| {
        source.block("fn default() -> Self", |source| {
            source.block("Self", |source| {
                for field in &item.fields {
                    source.line(format!("{}: {},", field.name, default_value(field)));
                }
            });
        });
    });
}

/// The value of a field that is not on the wire.
pub(crate) fn default_value(field: &Field) -> String {
    let value = match (&field.ty, field.default.as_deref()) {
        (_, Some("null")) => return "None".to_owned(),
        (Type::String, Some(literal)) => format!("{literal:?}.to_owned()"),
        (_, Some(literal)) => literal.to_owned(),
        (Type::Bool, None) => "false".to_owned(),
        (Type::I8 | Type::I16 | Type::I32 | Type::I64, None) => "0".to_owned(),
        (Type::Uuid, None) => "Uuid::nil()".to_owned(),
        (Type::String, None) => "String::new()".to_owned(),
        (Type::Bytes, None) => "Bytes::new()".to_owned(),
        (Type::Array(_), None) => "Vec::new()".to_owned(),
        (Type::Struct(name), None) => format!("{name}::default()"),
    };
    if field.is_option() {
        format!("Some({value})")
    } else {
        value
    }
}

/// `let flexible = ...;`, if the struct has a length or a tag to write.
pub(crate) fn flexible(source: &mut Source, api: &Api, used: bool) {
    if used {
        source.line(match api.first_flexible {
            Some(first) if first <= api.versions.min => "let flexible = true;".to_owned(),
            Some(first) => format!("let flexible = version >= {first};"),
            None => "let flexible = false;".to_owned(),
        });
    }
}

fn min_size(source: &mut Source, api: &Api, item: &Struct) {
    source.block("fn min_size(version: i16) -> usize", |source| {
        flexible(source, api, true);
        source.line("let mut size = usize::from(flexible);");
        for field in item.fields.iter().filter(|field| field.tag.is_none()) {
            source.when(field.versions.condition(item.versions), |source| {
                source.line(format!("size += {};", field.min_size()));
            });
        }
        source.line("let _ = version;");
        source.line("size");
    });
}

fn request(source: &mut Source, api: &Api) {
    let (request, response) = (api.named(Kind::Request), api.named(Kind::Response));
    if api.structs.iter().any(|item| item.twin) {
        source.line(TWIN);
    }
    source.block(format!("impl Request for {request}"), |source| {
        source.line(format!("const KEY: ApiKey = ApiKey::{};", api.name));
        source.line(format!(
            "const VERSIONS: VersionRange = VersionRange::new({}, {});",
            api.versions.min, api.versions.max
        ));
        source.line(format!("const FIRST_FLEXIBLE: Option<i16> = {:?};", api.first_flexible));
        source.line(format!("type Response = {response};"));
    });
}

/// `for_each_api!(call)` invokes `call!(Name, module, Request, Response)` for every API, so that tests leave none out.
fn list(source: &mut Source, apis: &[Api]) {
    source.line("/// Invokes `call!(Name, module, Request, Response)` for every API.");
    source.line(SAMPLES);
    source.line("#[cfg_attr(feature = \"samples\", macro_export)]");
    source.block("macro_rules! for_each_api", |source| {
        source.block("($call:ident) =>", |source| {
            for api in apis {
                source.line(format!(
                    "$call!({}, {}, {}, {});",
                    api.name,
                    api.module(),
                    api.named(Kind::Request),
                    api.named(Kind::Response)
                ));
            }
        });
    });
    source.line("#[cfg(test)]");
    source.line("pub(crate) use for_each_api;");
}

/// `visit(key, visitor)` hands the types of one API, known by its key only, to a visitor.
fn visit(source: &mut Source, apis: &[Api]) {
    source.line("");
    source.line("/// Calls the visitor with the request type of the API that `key` names.");
    source.line("#[cfg(feature = \"serde\")]");
    source.block(
        "pub fn visit<V: super::Visitor>(key: super::ApiKey, visitor: V) -> V::Output",
        |source| {
            source.block("match key", |source| {
                for api in apis {
                    source.line(format!(
                        "super::ApiKey::{} => visitor.visit::<{}::{}>(),",
                        api.name,
                        api.module(),
                        api.named(Kind::Request)
                    ));
                }
            });
        },
    );
}
