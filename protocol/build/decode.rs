//! Writes the `decode` of a struct.

use crate::generate::flexible;
use crate::schema::{Api, Field, Struct, Type};
use crate::source::Source;

pub(crate) fn function(source: &mut Source, api: &Api, item: &Struct) {
    let tagged: Vec<&Field> = item.fields.iter().filter(|field| field.tag.is_some()).collect();
    source.block(
        "fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError>",
        |source| {
            flexible(source, api, true);
            source.line("let mut this = Self::default();");
            for field in item.fields.iter().filter(|field| field.tag.is_none()) {
                source.when(field.versions.condition(item.versions), |source| {
                    source.line(format!("this.{} = {};", field.name, value(field)));
                });
            }
            source.block("if flexible", |source| tags(source, item, &tagged));
            source.line("let _ = version;");
            source.line("Ok(this)");
        },
    );
}

fn tags(source: &mut Source, item: &Struct, tagged: &[&Field]) {
    if tagged.is_empty() {
        source.line("r.skip_tagged_fields()?;");
        return;
    }
    source.block("r.tagged_fields(|tag, r|", |source| {
        source.block("match tag", |source| {
            for field in tagged {
                let guard = field
                    .versions
                    .condition(item.versions)
                    .map_or(String::new(), |condition| format!(" if {condition}"));
                source.line(format!(
                    "{}{guard} => this.{} = {},",
                    field.tag.unwrap_or_default(),
                    field.name,
                    value(field)
                ));
            }
            source.line("_ => return Ok(false),");
        });
        source.line("Ok(true)");
    });
    source.line(")?;");
}

/// An expression that reads the field from `r`.
fn value(field: &Field) -> String {
    let Some(nullable) = field.nullable else {
        return required(&field.ty, &field.name);
    };
    let read = optional(&field.ty);
    match nullable.condition(field.versions) {
        None => format!("({read})?"),
        Some(condition) => format!("nullable_if({condition}, ({read})?, {:?})?", field.name),
    }
}

fn required(ty: &Type, name: &str) -> String {
    match ty {
        Type::Bool => "r.bool()?".to_owned(),
        Type::I8 => "r.i8()?".to_owned(),
        Type::I16 => "r.i16()?".to_owned(),
        Type::I32 => "r.i32()?".to_owned(),
        Type::I64 => "r.i64()?".to_owned(),
        Type::Uuid => "r.uuid()?".to_owned(),
        Type::Struct(name) => format!("{name}::decode(r, version)?"),
        Type::String | Type::Bytes | Type::Array(_) => {
            format!("not_null({}?, {name:?})?", optional(ty))
        }
    }
}

/// An expression of a `Result<Option<_>, _>`.
fn optional(ty: &Type) -> String {
    match ty {
        Type::String => "r.string(flexible)".to_owned(),
        Type::Bytes => "r.bytes(flexible)".to_owned(),
        Type::Array(element) => {
            format!(
                "r.array(flexible, {}, |r| Ok({}))",
                element.min_size(),
                required(element, "element")
            )
        }
        // A struct that may be null has a byte before it: negative for null.
        Type::Struct(name) => {
            format!("if r.i8()? < 0 {{ Ok(None) }} else {{ {name}::decode(r, version).map(Some) }}")
        }
        // No number of Kafka's is nullable.
        other => format!("Ok(Some({}))", required(other, "")),
    }
}
