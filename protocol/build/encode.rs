//! Writes the `encode` of a struct.

use crate::generate::{default_value, flexible};
use crate::schema::{Api, Field, Struct, Type};
use crate::source::Source;

pub(crate) fn function(source: &mut Source, api: &Api, item: &Struct) {
    let mut tagged: Vec<&Field> = item.fields.iter().filter(|field| field.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag);
    source.block(
        "fn encode(&self, w: &mut Vec<u8>, version: i16) -> Result<(), EncodeError>",
        |source| {
            flexible(source, api, true);
            for field in &item.fields {
                refuse_what_would_be_lost(source, field, item);
            }
            for field in item.fields.iter().filter(|field| field.tag.is_none()) {
                source.when(field.versions.condition(item.versions), |source| {
                    refuse_null(source, field);
                    source.line(format!("{};", write(field, &format!("self.{}", field.name))));
                });
            }
            source.block("if flexible", |source| tags(source, item, &tagged));
            source.line("let _ = version;");
            source.line("Ok(())");
        },
    );
}

/// A value that this version cannot carry, and that may not be dropped, is the caller's mistake.
fn refuse_what_would_be_lost(source: &mut Source, field: &Field, item: &Struct) {
    let Some(condition) = field.versions.condition(item.versions) else {
        return;
    };
    if !field.ignorable {
        source.block(format!("if !({condition}) && {}", is_set(field)), |source| {
            source.line(format!(
                "return Err(EncodeError::FieldNotInVersion {{ field: {:?}, version }});",
                field.name
            ));
        });
    }
}

fn refuse_null(source: &mut Source, field: &Field) {
    let Some(condition) = field.nullable.and_then(|range| range.condition(field.versions)) else {
        return;
    };
    source.block(
        format!("if !({condition}) && self.{}.is_none()", field.name),
        |source| {
            source.line(format!(
                "return Err(EncodeError::NullNotInVersion {{ field: {:?}, version }});",
                field.name
            ));
        },
    );
}

/// A condition: the field differs from its default.
fn is_set(field: &Field) -> String {
    let name = &field.name;
    match (&field.ty, field.is_option(), field.default.as_deref()) {
        (_, true, Some("null")) => format!("self.{name}.is_some()"),
        (Type::String | Type::Bytes | Type::Array(_), true, None) => {
            format!("self.{name}.as_ref().is_none_or(|value| !value.is_empty())")
        }
        (Type::String | Type::Bytes | Type::Array(_), false, None) => {
            format!("!self.{name}.is_empty()")
        }
        (Type::Bool, false, None) => format!("self.{name}"),
        (Type::Bool, false, Some("true")) => format!("!self.{name}"),
        _ => format!("self.{name} != {}", default_value(field)),
    }
}

fn tags(source: &mut Source, item: &Struct, tagged: &[&Field]) {
    if tagged.is_empty() {
        source.line("w.put_tagged_fields(&[]);");
        return;
    }
    source.line("let mut tagged = Vec::new();");
    for field in tagged {
        let mut condition = is_set(field);
        if let Some(versions) = field.versions.condition(item.versions) {
            condition = format!("{versions} && {condition}");
        }
        source.block(format!("if {condition}"), |source| {
            source.line("let mut value = Vec::new();");
            source.block("", |source| {
                source.line("let w = &mut value;");
                source.line(format!("{};", write(field, &format!("self.{}", field.name))));
            });
            source.line(format!("tagged.push(({}, value));", field.tag.unwrap_or_default()));
        });
    }
    source.line("w.put_tagged_fields(&tagged);");
}

/// A statement that writes the value at `place` to `w`.
fn write(field: &Field, place: &str) -> String {
    match &field.ty {
        Type::String if field.is_option() => {
            format!("w.put_string(flexible, {place}.as_deref())?")
        }
        Type::Bytes if field.is_option() => {
            format!("w.put_bytes(flexible, {place}.as_deref())?")
        }
        Type::Array(element) if field.is_option() => array(element, &format!("{place}.as_deref()")),
        // A byte before the struct says whether it is there.
        Type::Struct(_) if field.is_option() => format!(
            "match &{place} {{ None => w.put_i8(-1), Some(value) => {{ w.put_i8(1); value.encode(w, version)?; }} }}"
        ),
        ty => required(ty, place),
    }
}

fn required(ty: &Type, place: &str) -> String {
    match ty {
        Type::Bool => format!("w.put_bool({place})"),
        Type::I8 => format!("w.put_i8({place})"),
        Type::I16 => format!("w.put_i16({place})"),
        Type::I32 => format!("w.put_i32({place})"),
        Type::I64 => format!("w.put_i64({place})"),
        Type::Uuid => format!("w.put_uuid({place})"),
        Type::String => format!("w.put_string(flexible, Some({place}.as_str()))?"),
        Type::Bytes => format!("w.put_bytes(flexible, Some(&{place}[..]))?"),
        Type::Array(element) => array(element, &format!("Some({place}.as_slice())")),
        Type::Struct(_) => format!("{place}.encode(w, version)?"),
    }
}

/// `elements` is an expression of type `Option<&[_]>`.
fn array(element: &Type, elements: &str) -> String {
    let place = match element {
        Type::String | Type::Bytes | Type::Array(_) | Type::Struct(_) => "element",
        _ => "*element",
    };
    format!(
        "w.put_array(flexible, {elements}, |w, element| {{ {}; Ok(()) }})?",
        required(element, place)
    )
}
